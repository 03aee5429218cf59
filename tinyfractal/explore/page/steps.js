// Steps: where we are in a run, and what is known there.
//
// A run of F forward and B backward steps has F + B + 2 positions: 0 … F (so many values are
// computed) and then F + 1 … F + 1 + B (so many nodes have passed their gradient on).

const Steps = (() => {
  'use strict';

  // What is asked of a run again and again: its nodes by id, its steps, who uses whom.
  function prepare(run) {
    const nodes = new Map(run.nodes.map((node) => [node.id, node]));
    const order = run.nodes.filter((node) => node.kind === 'step').map((node) => node.id);
    const uses = new Map(run.nodes.map((node) => [node.id, []]));
    for (const id of run.visits) {
      nodes.get(id).inputs.forEach((input, i) => {
        if (input !== null && nodes.get(id).parts[i]) uses.get(input).push({ step: id, i });
      });
    }
    return {
      run, nodes, order, uses,
      rank: new Map(order.map((id, k) => [id, k])),
      visit: new Map(run.visits.map((id, k) => [id, k])),
      F: order.length,
      B: run.visits.length,
    };
  }

  // {mode, k, node}: k steps of this mode are done, and `node` is the one done last.
  function at(prepared, position) {
    const { F, order, run } = prepared;
    if (position <= F) {
      return { mode: 'forward', k: position, node: position > 0 ? order[position - 1] : null };
    }
    const k = position - F - 1;
    return { mode: 'backward', k, node: k > 0 ? run.visits[k - 1] : null };
  }

  const last = (prepared) => prepared.F + prepared.B + 1;

  const count = (prepared, mode) => (mode === 'backward' ? prepared.B : prepared.F);

  function position(prepared, mode, k) {
    const step = Math.max(0, Math.min(count(prepared, mode), k));
    return mode === 'backward' ? prepared.F + 1 + step : step;
  }

  const hasValue = (prepared, id, now) => {
    const rank = prepared.rank.get(id);
    return rank === undefined || now.mode === 'backward' || rank < now.k;
  };

  // The parts that have arrived at a node, in the order of arrival: [{step, i, sample}].
  function arrived(prepared, id, now) {
    if (now.mode === 'forward') return [];
    return prepared.uses.get(id)
      .filter((use) => prepared.visit.get(use.step) < now.k)
      .map((use) => ({ ...use, sample: prepared.nodes.get(use.step).parts[use.i] }));
  }

  // What is known of the gradient of a node: {sample, complete, parts}.
  function gradient(prepared, id, now) {
    const node = prepared.nodes.get(id);
    if (now.mode === 'forward' || !node.grad) return { sample: null, complete: false, parts: [] };
    const parts = arrived(prepared, id, now);
    if (id === prepared.run.output) return { sample: node.grad, complete: true, parts };
    if (parts.length === 0) return { sample: null, complete: false, parts };
    const complete = parts.length === prepared.uses.get(id).length;
    const sample = complete ? node.grad : sum(parts);
    return { sample, complete, parts };
  }

  const sum = (parts) => parts.slice(1).reduce((sofar, part) => Numbers.add(sofar, part.sample), parts[0].sample);

  // What the step visited last gives to each input: [{input, i, part, before, after, complete}].
  function given(prepared, now) {
    if (now.mode === 'forward' || now.node === null) return [];
    const node = prepared.nodes.get(now.node);
    const found = [];
    const sofar = new Map();
    node.inputs.forEach((input, i) => {
      const part = input === null ? null : node.parts[i];
      if (!part) return;
      if (!sofar.has(input)) {
        const earlier = arrived(prepared, input, { ...now, k: now.k - 1 });
        sofar.set(input, { parts: earlier, sample: earlier.length ? sum(earlier) : null });
      }
      const { parts, sample: before } = sofar.get(input);
      const all = [...parts, { step: now.node, i, sample: part }];
      const complete = all.length === prepared.uses.get(input).length;
      const after = complete ? prepared.nodes.get(input).grad : sum(all);
      sofar.set(input, { parts: all, sample: after });
      found.push({ input, i, part, before, after, complete });
    });
    return found;
  }

  // What adds up at one input in this step: what was there, and every part that arrives now.
  function terms(given, input) {
    const own = given.filter((entry) => entry.input === input && entry.part);
    return [...(own[0].before ? [own[0].before] : []), ...own.map((entry) => entry.part)];
  }

  return { prepare, at, last, count, position, hasValue, gradient, given, terms };
})();
