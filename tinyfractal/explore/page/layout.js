// Layout: where the boxes go. Plain geometry; nothing is drawn here.
//
// A box's row is halfway between the earliest and the latest that its longest paths allow, so the
// one convolution of a shallow column lies centred beside the many of a deep one, as a fractal is
// drawn. Across, a box with a lane lies in its lane, and any other at the mean of its neighbours.
// Time runs downwards.

const Layout = (() => {
  'use strict';

  const PITCH = 80;   // from row to row
  const HEIGHT = 46;  // of a box
  const SMALL = 24;   // the height of a weight
  const BAR = 24;     // and of a join
  const GAP = 20;     // between neighbours
  const MARGIN = 16;

  const { textWidth } = Dom;
  const isSource = (box) => box.kind === 'leaf' || box.kind === 'constant';

  function place(view) {
    const boxes = [...view.boxes.values()];
    attachSmall(view, boxes);
    const main = boxes.filter((box) => !box.host);
    const edges = view.edges.filter((edge) => !view.boxes.get(edge.from).host);
    size(view, boxes, edges);
    const laned = main.some((box) => box.lane !== null);
    setRows(view, main, edges, laned);
    const bends = addBends(view, edges);
    settle(view, main, edges, bends, laned);
    separate(main);
    return route(view, boxes, edges, bends);
  }

  // Weights, and data that enters late, are drawn small at the left of the step that they feed.
  function attachSmall(view, boxes) {
    for (const box of boxes) Object.assign(box, { host: null, small: [] });
    for (const box of boxes.filter((b) => isSource(b) && b.path === null)) {
      const users = [...new Set(view.edges.filter((e) => e.from === box.id).map((e) => e.to))];
      if (users.length === 0) continue;
      const others = view.edges.filter((e) => e.to === users[0] && !isSource(view.boxes.get(e.from)));
      if (box.nodes[0].is_parameter || (users.length === 1 && others.length > 0)) {
        box.host = users[0];
        view.boxes.get(users[0]).small.push(box);
      }
    }
  }

  function size(view, boxes, edges) {
    for (const box of boxes) {
      const single = box.shape !== null && box.shape.length === 0;
      const label = Math.min(textWidth(box.path === null ? box.label : `+ ${box.label}`, 12.5, 600), 150);
      const shape = box.shape === null ? 48 : textWidth(box.shape.join('×'), 10);
      if (box.host) {
        box.h = SMALL;
        box.w = 18 + Math.min(textWidth(box.label, 11), 90) + (single ? 132 : 40);
      } else {
        box.h = HEIGHT;
        box.w = single ? Math.max(168, 20 + label) : 90 + Math.max(label, shape, 34);
      }
      box.bar = null;
      if (box.path === null ? box.nodes[0].name === 'join' : box.label === 'join()') {
        const lanes = edges.filter((e) => e.to === box.id).map((e) => view.boxes.get(e.from).lane);
        const known = lanes.filter((lane) => lane !== null);
        if (new Set(known).size > 1) {
          box.bar = [Math.min(...known), Math.max(...known)];
          box.h = BAR;
        }
      }
    }
    for (const box of boxes) {  // weights in columns of two
      const columns = [];
      for (let i = 0; i < box.small.length; i += 2) columns.push(box.small.slice(i, i + 2));
      box.columns = columns;
      box.reach = columns.reduce((sum, column) => sum + 14 + Math.max(...column.map((b) => b.w)), 0);
    }
  }

  // Kahn's order; where folding made a circle, the first box in the run's order goes on.
  function topological(main, edges) {
    const open = new Map(main.map((box) => [box.id, 0]));
    const next = new Map(main.map((box) => [box.id, []]));
    for (const edge of edges) {
      open.set(edge.to, open.get(edge.to) + 1);
      next.get(edge.from).push(edge.to);
    }
    const order = [];
    const left = new Set(main.map((box) => box.id));
    const ready = main.filter((box) => open.get(box.id) === 0).map((box) => box.id);
    while (left.size > 0) {
      const id = ready.length > 0 ? ready.shift() : left.values().next().value;
      if (!left.delete(id)) continue;
      order.push(id);
      for (const to of next.get(id)) {
        open.set(to, open.get(to) - 1);
        if (open.get(to) === 0) ready.push(to);
      }
    }
    return order;
  }

  function setRows(view, main, edges, laned) {
    const order = topological(main, edges);
    const rank = new Map(order.map((id, k) => [id, k]));
    const down = edges.filter((edge) => rank.get(edge.from) < rank.get(edge.to));
    const earliest = new Map(order.map((id) => [id, 0]));
    const into = group(down, 'to');
    const out = group(down, 'from');
    for (const id of order) {
      for (const e of into.get(id) || []) earliest.set(id, Math.max(earliest.get(id), earliest.get(e.from) + 1));
    }
    const lowest = Math.max(...earliest.values());
    const latest = new Map(order.map((id) => [id, lowest]));
    for (const id of [...order].reverse()) {
      for (const e of out.get(id) || []) latest.set(id, Math.min(latest.get(id), latest.get(e.to) - 1));
    }
    for (const box of main) {
      const middle = (earliest.get(box.id) + latest.get(box.id)) / 2;
      box.row = laned ? middle : Math.floor(middle);
    }
    for (const box of main.filter(isSource)) {  // just above the first that uses it
      const users = (out.get(box.id) || []).map((edge) => view.boxes.get(edge.to).row);
      box.row = users.length > 0 ? Math.min(...users) - 1 : 0;
    }
    const top = Math.min(...main.map((box) => box.row));
    for (const box of main) box.row -= top;
    for (const edge of edges) edge.back = !(view.boxes.get(edge.from).row < view.boxes.get(edge.to).row);
  }

  function group(edges, end) {
    const found = new Map();
    for (const edge of edges) {
      if (!found.has(edge[end])) found.set(edge[end], []);
      found.get(edge[end]).push(edge);
    }
    return found;
  }

  // A line that passes rows holds a place in each of them, so that it does not cross a box.
  function addBends(view, edges) {
    const bends = new Map();
    let total = 0;
    for (const edge of edges) {
      const [from, to] = [view.boxes.get(edge.from), view.boxes.get(edge.to)];
      const list = [];
      if (!edge.back && total < 4000) {
        const lane = to.bar || to.lane === null ? from.lane : from.bar || from.lane === null ? to.lane
          : from.lane === to.lane ? to.lane : null;
        for (let row = from.row + 1; row < to.row - 0.6; row += 1) {
          list.push({ row, lane, w: 12, h: PITCH, reach: 0, bend: true, bar: null });
        }
      }
      total += list.length;
      bends.set(edge.key, list);
    }
    return bends;
  }

  const left = (item) => item.w / 2 + item.reach;
  const right = (item) => item.w / 2;
  const bandsOf = (item) => [2 * item.row, 2 * item.row + 1];  // half rows: a box covers two

  function settle(view, main, edges, bends, laned) {
    const items = [...main, ...[...bends.values()].flat()];
    const bands = [];
    for (const item of items) {
      for (const band of bandsOf(item)) (bands[band] ||= []).push(item);
    }
    const lanes = laned ? lanePositions(items, bands) : [];
    for (const box of main.filter((b) => b.bar)) {
      const [from, to] = box.bar.map((lane) => lanes[lane]);
      box.fixed = (from + to) / 2;
      box.w = to - from + 126;
    }
    const near = new Map(items.map((item) => [item, []]));
    for (const edge of edges) {
      const chain = [view.boxes.get(edge.from), ...bends.get(edge.key), view.boxes.get(edge.to)];
      chain.slice(1).forEach((item, i) => {
        near.get(item).push(chain[i]);
        near.get(chain[i]).push(item);
      });
    }
    const weight = (item) => (item.fixed !== undefined || (laned && item.lane !== null) ? 50 : item.bend ? 0.2 : 1);
    const wish = (item) => {
      if (item.fixed !== undefined) return item.fixed;
      const heard = near.get(item).filter((other) => other.x !== undefined);
      let mean = item.x === undefined ? 0 : item.x;
      if (heard.length > 0) {
        const total = heard.reduce((sum, other) => sum + weight(other), 0);
        mean = heard.reduce((sum, other) => sum + other.x * weight(other), 0) / total;
      }
      if (item.lane === null || lanes.length === 0) return mean;
      const rivals = (band) => bands[band].filter((other) => other.lane === item.lane && !other.bend);
      const alone = bandsOf(item).every((band) => rivals(band).length < 2);
      const centre = lanes[item.lane];
      return alone || item.bend ? centre : centre + Math.max(-40, Math.min(40, (mean - centre) / 4));
    };
    for (const box of main) if (box.lane !== null && lanes.length > 0) box.x = box.fixed ?? lanes[box.lane];
    for (let sweep = 0; sweep < 24; sweep++) {
      const order = sweep % 2 === 0 ? bands : [...bands].reverse();
      for (const band of order) {
        if (!band) continue;
        for (const item of band) item.x = wish(item);
        spread(band, weight);
      }
    }
    const start = Math.min(...main.map((box) => box.x - left(box)));
    for (const item of items) item.x += MARGIN - start;
  }

  // The centre of each lane: wide enough for the widest row in it.
  function lanePositions(items, bands) {
    const count = 1 + Math.max(...items.map((item) => item.lane ?? 0));
    const before = Array(count).fill(40);
    const after = Array(count).fill(40);
    for (const band of bands) {
      for (let lane = 0; lane < count; lane++) {
        const here = (band || []).filter((item) => item.lane === lane && !item.bar);
        const solid = here.filter((item) => !item.bend);
        const lines = 14 * Math.min(4, here.length - solid.length);
        const total = solid.reduce((sum, item) => sum + left(item) + right(item) + GAP, 0);
        if (solid.length === 1) {
          before[lane] = Math.max(before[lane], left(solid[0]) + lines);
          after[lane] = Math.max(after[lane], right(solid[0]) + lines);
        } else {
          before[lane] = Math.max(before[lane], total / 2 + lines);
          after[lane] = Math.max(after[lane], total / 2 + lines);
        }
      }
    }
    const centres = [0];
    for (let lane = 1; lane < count; lane++) centres.push(centres[lane - 1] + after[lane - 1] + GAP + before[lane]);
    return centres;
  }

  // Move neighbours apart as little as possible: the smallest sum of weight · way². Pushed together
  // from the left, each wish becomes a distance from the wall, and these must not decrease.
  function spread(band, weight) {
    const order = [...band].sort((a, b) => a.x - b.x);
    let wall = 0;
    const groups = [];
    for (const item of order) {
      const pushed = wall + left(item) + GAP / 2;
      wall += left(item) + right(item) + (item.bend ? 4 : GAP);
      let group = { way: item.x - pushed, weight: weight(item), who: [[item, pushed]] };
      while (groups.length > 0 && groups[groups.length - 1].way > group.way) {
        const other = groups.pop();
        const both = other.weight + group.weight;
        group = {
          way: (other.way * other.weight + group.way * group.weight) / both,
          weight: both,
          who: [...other.who, ...group.who],
        };
      }
      groups.push(group);
    }
    for (const { way, who } of groups) for (const [item, pushed] of who) item.x = pushed + way;
  }

  // Whatever overlaps still, because it lies between two rows, moves to the nearest free place.
  function separate(main) {
    const placed = [];
    const order = [...main].sort((a, b) => Number(b.fixed !== undefined) - Number(a.fixed !== undefined)
      || Number(b.lane !== null) - Number(a.lane !== null) || a.row - b.row || a.x - b.x);
    for (const box of order) {
      const away = (other) => Math.abs(other.row - box.row) * PITCH;
      const rivals = placed.filter((other) => away(other) < (heightOf(box) + heightOf(other)) / 2 + 6);
      const before = (other) => other.x - left(other) - right(box);  // where box touches it from the left
      const after = (other) => other.x + right(other) + left(box);
      const free = (x) => rivals.every((other) => x <= before(other) - 8 || x >= after(other) + 8);
      if (!free(box.x)) {
        const places = rivals.flatMap((other) => [before(other) - 10, after(other) + 10]);
        const open = places.filter(free).sort((a, b) => Math.abs(a - box.x) - Math.abs(b - box.x));
        box.x = open[0];
      }
      placed.push(box);
    }
  }

  const stack = (column) => column.reduce((sum, small) => sum + small.h + 4, -4);
  const heightOf = (box) => Math.max(box.h, ...box.columns.map(stack));

  // The nearest x at which a line may leave or reach a wide box.
  const within = (box, x) => Math.max(box.cx - box.w / 2 + 12, Math.min(box.cx + box.w / 2 - 12, x));

  function route(view, boxes, edges, bends) {
    const y = (row) => MARGIN + HEIGHT / 2 + 4 + row * PITCH;
    const main = boxes.filter((box) => !box.host);
    const shift = MARGIN - Math.min(...main.map((box) => box.x - left(box)));
    for (const box of main) {
      box.cx = box.x + shift;
      box.cy = y(box.row);
      let edge = box.cx - box.w / 2;
      for (const column of box.columns) {
        const width = Math.max(...column.map((small) => small.w));
        let top = box.cy - stack(column) / 2;
        for (const small of column) {
          small.cx = edge - 14 - small.w / 2;
          small.cy = top + small.h / 2;
          top += small.h + 4;
        }
        edge -= 14 + width;
      }
    }
    const arriving = group(view.edges, 'to');
    const lines = [];
    for (const box of boxes) {
      const mine = (arriving.get(box.id) || []).map((edge) => {
        const from = view.boxes.get(edge.from);
        const chain = (bends.get(edge.key) || []).map((bend) => ({ x: bend.x + shift, y: y(bend.row) }));
        return { edge, from, chain, at: chain.length > 0 ? chain[chain.length - 1].x : from.cx };
      });
      const above = mine.filter(({ from }) => from.host !== box.id).sort((a, b) => a.at - b.at);
      const step = above.length > 1 ? Math.min(22, (box.w - 24) / (above.length - 1)) : 0;
      for (const { edge, from, chain, at } of mine) {
        if (from.host === box.id) {
          const side = Math.max(box.cy - box.h / 2 + 6, Math.min(box.cy + box.h / 2 - 6, from.cy));
          lines.push({ edge, points: [[from.cx + from.w / 2, from.cy], [box.cx - box.w / 2, side]], flat: true });
          continue;
        }
        const place = above.findIndex((other) => other.edge === edge);
        const end = box.bar ? within(box, at) : box.cx + (place - (above.length - 1) / 2) * step;
        const first = chain.length > 0 ? chain[0].x : end;
        const start = from.bar ? within(from, first) : from.cx;
        const points = [[start, from.cy + from.h / 2]];
        for (const bend of chain) points.push([bend.x, bend.y - HEIGHT / 2], [bend.x, bend.y + HEIGHT / 2]);
        points.push([end, box.cy - box.h / 2]);
        lines.push({ edge, points, flat: false });
      }
    }
    const bentOut = lines.flatMap((line) => line.points.map((point) => point[0]));
    const rightmost = Math.max(...boxes.map((box) => box.cx + box.w / 2), ...bentOut);
    const lowest = Math.max(...boxes.map((box) => box.cy + box.h / 2));
    return { boxes, lines, width: rightmost + MARGIN, height: lowest + MARGIN };
  }

  return { place };
})();
