// Graph: draws the boxes and lines of a layout as SVG, and shows in them where we are.

const Graph = (() => {
  'use strict';

  const { svg, clip, textWidth, still } = Dom;

  // A smooth line through points: down at both ends of each curve.
  function path(points, flat) {
    let text = `M${points[0].join(' ')}`;
    for (let i = 1; i < points.length; i++) {
      const [[x0, y0], [x1, y1]] = [points[i - 1], points[i]];
      const half = (y0 + y1) / 2;
      text += flat || x0 === x1 ? `L${x1} ${y1}` : `C${x0} ${half} ${x1} ${half} ${x1} ${y1}`;
    }
    return text;
  }

  // Builds everything anew; `update` then changes only what a step changes.
  function draw(root, layout, view, on) {
    root.replaceChildren();
    root.setAttribute('viewBox', `0 0 ${layout.width} ${layout.height}`);
    const lines = layout.lines.map(({ edge, points, flat }) => {
      const line = svg('path', { d: path(points, flat), class: `edge${edge.ghost ? ' ghost' : ''}`, fill: 'none' });
      root.append(line);
      return { edge, line, flat };
    });
    const boxes = new Map();
    for (const box of layout.boxes) {
      const drawn = drawBox(box, on);
      boxes.set(box.id, drawn);
      root.append(drawn.g);
    }
    const above = svg('g', { 'aria-hidden': 'true' });
    root.append(above);
    return { root, layout, view, lines, boxes, above };
  }

  function drawBox(box, on) {
    const [x, y] = [box.cx - box.w / 2, box.cy - box.h / 2];
    const small = box.host !== null;
    const kind = box.bar ? 'join' : box.kind;
    const first = box.nodes[0];
    const g = svg('g', {
      class: `box ${kind}${small ? ' small' : ''}`,
      tabindex: 0,
      role: 'button',
      'data-id': box.id,
      onclick: () => on.select(box),
      onkeydown: (event) => {
        if (event.key === 'Enter' || event.key === ' ') {
          event.preventDefault();
          event.stopPropagation();
          on.select(box);
        }
      },
    });
    const full = box.path !== null ? `${box.path}: ${box.steps} steps`
      : first.name && first.name !== box.label ? `${box.label} (${first.name})` : box.label;
    g.append(svg('title', {}, full));
    const size = { width: box.w, height: box.h, rx: small || box.bar ? 5 : 7 };
    if (box.path !== null) g.append(svg('rect', { class: 'behind', x: x + 4, y: y + 4, ...size }));
    g.append(svg('rect', { class: 'body', x, y, ...size }));
    const single = box.shape !== null && box.shape.length === 0;
    const text = (dx, dy, name, content) => {
      const made = svg('text', { x: x + dx, y: y + dy, class: name }, content);
      g.append(made);
      return made;
    };
    const parts = { g, box, value: null, grad: null };
    const label = box.path === null ? box.label : `+ ${box.label}`;
    if (box.bar) {
      text(10, 16.5, 'label', `⊕ ${label}`);
    } else if (small) {
      text(7, 16, 'label', clip(label, 90, 11));
    } else {
      text(10, 19, 'label', clip(label, Math.max(150, single ? box.w - 20 : 0), 12.5, 600));
      const shape = single || box.path !== null ? '' : first.shape.join('×');
      text(10, 36, 'shape', kind === 'ghost' ? 'left out' : box.path !== null ? `${box.steps} steps` : shape);
    }
    if (kind === 'ghost') return parts;
    if (single && !box.bar) {
      const bottom = small ? 16 : 37;
      parts.value = text(small ? box.w - 126 : 10, bottom, 'number', '');
      parts.grad = text(box.w - 8, bottom, 'number grad', '');
      parts.grad.setAttribute('text-anchor', 'end');
      parts.text = true;
    } else {
      const side = small || box.bar ? 16 : 30;
      const top = y + (box.h - side) / 2;
      const frame = (left, name) => {
        const square = { x: left, y: top, width: side, height: side };
        const image = svg('image', { ...square, preserveAspectRatio: 'none', class: 'map' });
        const border = svg('rect', { ...square, class: `frame ${name}` });
        const mark = svg('text', { x: left + side / 2, y: top + side / 2 + 4, class: 'mark' });
        g.append(image, border, mark);
        return { image, border, mark };
      };
      const right = x + box.w - 8;
      parts.value = frame(right - 2 * side - 5, 'of-value');
      parts.grad = frame(right - side, 'of-grad');
    }
    return parts;
  }

  // What a box shows: of a folded group, its last step.
  const shownNode = (box) => box.nodes.filter((node) => node.kind === 'step').at(-1) || box.nodes[0];

  function setMap(frame, sample, covered) {
    frame.border.classList.toggle('there', sample !== null || covered);
    frame.mark.textContent = covered ? '?' : '';
    if (sample && !covered) frame.image.setAttribute('href', Numbers.picture(sample));
    else frame.image.removeAttribute('href');
  }

  function update(drawn, state, shown, selected, animate) {
    const { now } = shown;
    const current = now.node === null ? null : drawn.view.boxOf.get(now.node);
    const receiving = new Set(shown.given.map((entry) => drawn.view.boxOf.get(entry.input)));
    for (const { g, box, value, grad, text } of drawn.boxes.values()) {
      const node = shownNode(box);
      const steps = box.nodes.filter((other) => other.kind === 'step');
      const done = steps.every((other) => Steps.hasValue(state.prepared, other.id, now));
      const flags = {
        todo: node.kind !== 'ghost' && !done,
        now: box.id === current,
        receiving: now.mode === 'backward' && receiving.has(box.id),
        backward: now.mode === 'backward',
        selected: box.id === selected,
      };
      for (const [name, is] of Object.entries(flags)) g.classList.toggle(name, is);
      g.setAttribute('aria-pressed', String(flags.selected));
      const words = [box.label];
      if (box.path !== null) words.push(`folded, ${box.steps} steps; Enter opens it`);
      else if (node.kind === 'ghost') words.push('left out by drop-path');
      else words.push(`${node.kind}, ${Numbers.shapeText(node.shape)}`);
      if (node.kind !== 'ghost') {
        const known = shown.value(node.id);
        const found = shown.gradient(node.id);
        if (text) {
          value.textContent = known ? Numbers.write(known) : '';
          const prefix = grad.parentNode.classList.contains('small') ? '' : '∂ ';
          grad.textContent = found.covered ? `${prefix}?` : found.sample ? prefix + Numbers.write(found.sample) : '';
        } else {
          setMap(value, known, false);
          setMap(grad, found.sample, found.covered);
        }
        if (Numbers.isSingle(known)) words.push(`value ${Numbers.write(known)}`);
        if (found.covered) words.push('gradient covered');
        else if (Numbers.isSingle(found.sample)) words.push(`gradient ${Numbers.write(found.sample)}`);
        else if (found.sample) words.push('gradient there');
      }
      if (flags.now) words.push('current step');
      g.setAttribute('aria-label', words.join(', '));
    }
    for (const { edge, line } of drawn.lines) {
      const active = edge.links.some((link) => link.step === now.node && link.i !== null
        && (now.mode === 'forward' || state.prepared.nodes.get(link.step).parts[link.i]));
      line.classList.toggle('active', active && !edge.ghost);
      line.classList.toggle('up', active && now.mode === 'backward');
      line.classList.toggle('moving', active && animate && !still());
      const carried = edge.links.every((link) => Steps.hasValue(state.prepared, link.step, now));
      line.classList.toggle('todo', !edge.ghost && !carried);
    }
    drawn.above.replaceChildren();
    travel(drawn, shown, animate);
  }

  // Backward: what each input gets, on its line; where something was there already, the sum.
  function travel(drawn, shown, animate) {
    const done = new Set();
    for (const entry of [...shown.given].reverse()) {
      const box = drawn.boxes.get(drawn.view.boxOf.get(entry.input)).box;
      const key = `${box.id} ${entry.input}`;
      if (done.has(key) || box.host !== null || box.path !== null) continue;
      done.add(key);
      const found = drawn.lines.find(({ edge }) => edge.to === drawn.view.boxOf.get(shown.now.node)
        && edge.links.some((link) => link.input === entry.input && link.i === entry.i));
      if (!found || !entry.part) continue;
      const sum = Steps.terms(shown.given, entry.input).flatMap((term) => [term, '+']).slice(0, -1);
      const sign = entry.before && !shown.covered
        ? pill([...sum, '=', entry.after])
        : pill([shown.covered ? '?' : entry.part]);
      const start = found.line.getPointAtLength(0);
      const rest = { x: start.x, y: start.y + 14 };
      sign.setAttribute('transform', `translate(${rest.x} ${rest.y})`);
      drawn.above.append(sign);
      if (animate && !still()) {
        const length = found.line.getTotalLength();
        const points = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1].map((i) => found.line.getPointAtLength((length * i) / 10));
        const frames = [...points, rest].map(({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` }));
        sign.animate(frames, { duration: 550, easing: 'ease-in-out' });
      }
    }
  }

  // "0.12 + 0.05 = 0.17" in a frame; arrays as small heat maps.
  function pill(things) {
    const g = svg('g', { class: 'pill' });
    const widths = things.map((thing) => (typeof thing === 'string' ? 12
      : Numbers.isSingle(thing) ? textWidth(Numbers.write(thing), 11.5, 600) + 4 : 18));
    const width = widths.reduce((sum, w) => sum + w, 0) + 8;
    g.append(svg('rect', { x: -width / 2, y: -11, width, height: 22, rx: 5, class: 'pill-body' }));
    let x = -width / 2 + 4;
    things.forEach((thing, i) => {
      const middle = x + widths[i] / 2;
      if (typeof thing === 'string' || Numbers.isSingle(thing)) {
        const content = typeof thing === 'string' ? thing : Numbers.write(thing);
        g.append(svg('text', { x: middle, y: 4, 'text-anchor': 'middle', class: 'pill-text' }, content));
      } else {
        const square = { x: middle - 8, y: -8, width: 16, height: 16 };
        g.append(svg('image', { ...square, preserveAspectRatio: 'none', class: 'map', href: Numbers.picture(thing) }));
        g.append(svg('rect', { ...square, class: 'frame of-grad there' }));
      }
      x += widths[i];
    });
    return g;
  }

  return { draw, update, shownNode };
})();
