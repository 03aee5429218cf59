// Places: to stay where one is when another run is chosen, as well as that is possible.

const Places = (() => {
  'use strict';

  // Names that mean the same in each run: modules, name, and how often it was there before.
  function names(prepared) {
    const seen = new Map();
    return new Map(prepared.run.nodes.map((node) => {
      const name = JSON.stringify([node.group, node.name, node.label]);
      const times = seen.get(name) || 0;
      seen.set(name, times + 1);
      return [node.id, `${name} ${times}`];
    }));
  }

  function leave({ prepared, position, pinned }) {
    const known = names(prepared);
    const now = Steps.at(prepared, position);
    return {
      now,
      share: now.k / (Steps.count(prepared, now.mode) || 1),
      node: known.get(now.node),
      pinned: known.get(pinned) ?? pinned,
    };
  }

  // To the same step, or to one as far on; `view` is of the run that is shown now.
  function comeBack(state, view, { now, share, node, pinned }) {
    const { prepared } = state;
    const known = new Map([...names(prepared)].map(([id, name]) => [name, id]));
    const order = now.mode === 'forward' ? prepared.rank : prepared.visit;
    const found = order.get(known.get(node));
    const k = found === undefined ? Math.round(share * Steps.count(prepared, now.mode)) : found + 1;
    state.position = Steps.position(prepared, now.mode, k);
    state.pinned = view.boxes.has(pinned) ? pinned : view.boxOf.get(known.get(pinned)) ?? null;
  }

  return { leave, comeBack };
})();
