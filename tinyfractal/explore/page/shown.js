// Shown: what the page may show now. The run's numbers, at this step, with a dragged number in
// place, and without what is still to be predicted.

const Shown = (() => {
  'use strict';

  const copies = new Map();

  // The sample with the rows that it has while a handle is dragged.
  function dragged(state, kind, id, sample) {
    if (state.drag === null || !sample) return sample;
    const { handle, at } = state.drag;
    const rows = (handle.steps[at][kind] || {})[id];
    if (rows === undefined) return sample;
    const key = JSON.stringify([state.run, handle.leaf, handle.index, at, kind, id]);
    if (!copies.has(key)) copies.set(key, { ...Numbers.withRows(sample, rows), scale: Numbers.reach(sample) });
    return copies.get(key);
  }

  const moved = (state) => state.drag !== null && state.drag.at !== state.drag.handle.at;

  // {now, covered, value(id), gradient(id), given, loss}
  function of(state) {
    const { prepared } = state;
    const now = Steps.at(prepared, state.position);
    const given = Steps.given(prepared, now);
    const covered = state.predict && !state.revealed && given.length > 0;
    const hidden = new Set(covered ? given.map((entry) => entry.input) : []);

    function value(id) {
      if (!Steps.hasValue(prepared, id, now)) return null;
      return dragged(state, 'value', id, prepared.nodes.get(id).value);
    }

    function gradient(id) {
      const found = Steps.gradient(prepared, id, hidden.has(id) ? { ...now, k: now.k - 1 } : now);
      const { complete } = found;
      let { sample } = found;
      if (complete) sample = dragged(state, 'grad', id, sample);
      else if (moved(state)) sample = null;
      return { ...found, sample, covered: hidden.has(id) };
    }

    // Parts were recorded for the run itself; of a dragged one, those that are a whole gradient.
    function entry(found) {
      if (!moved(state)) return found;
      const after = found.complete ? dragged(state, 'grad', found.input, found.after) : null;
      return { ...found, part: found.before === null ? after : null, before: null, after };
    }

    return {
      now,
      covered,
      value,
      gradient,
      given: given.map(entry),
      // Whether the whole gradient of a leaf may be told: not while it is still to be predicted.
      mayTell: (id) => !state.predict || gradient(id).complete,
    };
  }

  return { of, moved };
})();
