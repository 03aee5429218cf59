// Folding: which boxes are there, when the modules in `folded` are drawn as one box each.

const Folding = (() => {
  'use strict';

  const LIMIT = 300;  // boxes that are drawn at most
  const PART = 100;   // children of a group, where all would be too many

  // "blocks.0", "blocks.0.first", … : the groups around a node, outermost first.
  const paths = (node) => node.group.map((_, i) => node.group.slice(0, i + 1).join('.'));

  // The box in which a node is drawn: the outermost folded group around it, or itself.
  function boxOf(node, folded) {
    const path = paths(node).find((p) => folded.has(p));
    return path === undefined ? node.id : `group:${path}`;
  }

  const count = (run, folded) => new Set(run.nodes.map((node) => boxOf(node, folded))).size;

  // A group with very many children gets parts to be folded: "part 2 of 5".
  function divide(run) {
    if (run.nodes.length <= LIMIT) return;
    const within = (nodes, depth) => {
      const children = new Map();
      for (const node of nodes) {
        const key = node.group.length > depth ? `group ${node.group[depth]}` : node.id;
        if (!children.has(key)) children.set(key, []);
        children.get(key).push(node);
      }
      const parts = Math.ceil(children.size / PART);
      [...children.values()].forEach((inner, i) => {
        const deeper = inner[0].group.length > depth;
        if (parts > 1) {
          const part = `part ${1 + Math.floor((i * parts) / children.size)} of ${parts}`;
          for (const node of inner) node.group = [...node.group.slice(0, depth), part, ...node.group.slice(depth)];
        }
        if (deeper) within(inner, depth + (parts > 1 ? 2 : 1));
      });
    };
    within(run.nodes, 0);
  }

  // Functions of the library's definitions ("batch_norm()") begin folded; a click opens them.
  function initial(run) {
    const functions = run.nodes.flatMap((node) => paths(node).filter((path) => path.endsWith('()')));
    return reduce(run, new Set(functions));
  }

  // Fold the deepest groups until few enough boxes are left, but none around or in `kept`.
  function reduce(run, wanted, kept = null) {
    const folded = new Set(wanted);
    const added = [];
    const holds = (path) => kept !== null && (kept === path || kept.startsWith(`${path}.`));
    while (count(run, folded) > LIMIT) {
      const open = new Map();  // path → {depth, boxes}
      for (const node of run.nodes) {
        for (const [depth, path] of paths(node).entries()) {
          if (folded.has(path)) break;
          if (holds(path)) continue;
          if (!open.has(path)) open.set(path, { path, depth, boxes: new Set() });
          open.get(path).boxes.add(boxOf(node, folded));
        }
      }
      const useful = [...open.values()].filter(({ boxes }) => boxes.size > 1);
      if (useful.length === 0) break;
      const deepest = Math.max(...useful.map(({ depth }) => depth));
      for (const { path, depth } of useful) {
        if (depth === deepest) {
          folded.add(path);
          added.push(path);
        }
      }
    }
    return { folded, added };
  }

  // The graph as it is drawn: {boxes: Map id → box, edges, boxOf: Map node id → box id}.
  function view(prepared, folded) {
    const boxes = new Map();
    const where = new Map();
    for (const node of prepared.run.nodes) {
      const id = boxOf(node, folded);
      where.set(node.id, id);
      if (!boxes.has(id)) boxes.set(id, { id, nodes: [], path: id.startsWith('group:') ? id.slice(6) : null });
      boxes.get(id).nodes.push(node);
    }
    for (const box of boxes.values()) Object.assign(box, describe(box));
    const edges = new Map();
    const connect = (from, to, step, i) => {
      const [a, b] = [where.get(from), where.get(to)];
      if (a === undefined || b === undefined || a === b) return;
      const key = boxes.get(b).path === null && i !== null ? `${a} ${b} ${i}` : `${a} ${b}`;
      if (!edges.has(key)) edges.set(key, { key, from: a, to: b, links: [], ghost: true });
      const edge = edges.get(key);
      const ghost = [from, to].some((id) => prepared.nodes.get(id).kind === 'ghost');
      if (!ghost) edge.ghost = false;
      edge.links.push({ input: from, step, i });
    };
    for (const node of prepared.run.nodes) {
      node.inputs.forEach((input, i) => { if (input !== null) connect(input, node.id, node.id, i); });
      for (const user of node.into || []) connect(node.id, user, user, null);
    }
    return { boxes, edges: [...edges.values()], boxOf: where };
  }

  function describe({ nodes, path }) {
    if (path === null) {
      const { kind, label, name, lane, shape } = nodes[0];
      return { kind, label: label || name || kind, lane, shape };
    }
    const inner = nodes.filter((node) => node.kind === 'step' || node.kind === 'ghost');
    const lanes = new Set(inner.map((node) => node.lane));
    const kinds = new Set(nodes.map((node) => node.kind));
    const kind = kinds.has('step') ? 'group' : kinds.has('ghost') ? 'ghost' : 'group';
    const steps = nodes.filter((node) => node.kind === 'step').length;
    const depth = paths(nodes[0]).indexOf(path);
    return {
      kind,
      label: nodes[0].group[depth],
      lane: lanes.size === 1 ? inner[0].lane : null,
      shape: null,
      steps,
    };
  }

  return { LIMIT, paths, divide, initial, reduce, view };
})();
