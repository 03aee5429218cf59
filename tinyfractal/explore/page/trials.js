// Trials: a number of a leaf is nudged (measured against gradient × nudge) or dragged.

const Trials = (() => {
  'use strict';

  const { html, svg, button, quiet } = Dom;
  const { format } = Numbers;

  const nameOf = (state, { leaf, index, label }) => {
    if (label) return label;
    const node = state.prepared.nodes.get(leaf);
    return (node.name || node.label) + (index.length > 0 ? `[${index.join(', ')}]` : '');
  };

  function choice(id, label, names, at, choose) {
    const select = html('select', { id, onchange: (event) => choose(Number(event.target.value)) },
      ...names.map((name, i) => html('option', { value: i, selected: i === at }, name)));
    return html('p', {}, html('label', {}, label, ' ', select));
  }

  // ----- Nudge -----

  function nudge(state, shown, on) {
    if (state.nudges.length === 0) return [];
    const one = state.nudges[state.nudge];
    const leaves = [...new Set(state.nudges.map((other) => other.leaf))];
    const same = state.nudges.filter((other) => other.leaf === one.leaf);
    const choose = (other) => on.chooseNudge(state.nudges.indexOf(other));
    const parts = [
      html('h3', {}, 'Nudge a number'),
      choice('nudge-leaf', 'What:', leaves.map((leaf) => nameOf(state, { leaf, index: [] })), leaves.indexOf(one.leaf),
        (i) => choose(state.nudges.find((other) => other.leaf === leaves[i]))),
    ];
    if (same.length > 1) {
      const places = same.map((other) => `[${other.index.join(', ')}]`);
      parts.push(choice('nudge', 'Which number:', places, same.indexOf(one), (i) => choose(same[i])));
    }
    const change = one.after - one.before;
    const grad = state.prepared.nodes.get(one.leaf).grad;
    const slope = grad && one.cell ? grad.rows[one.cell[0]][one.cell[1]] : null;
    const row = (what, text, id = null) => html('tr', {}, html('th', { scope: 'row' }, what), html('td', { id }, text));
    const rows = [
      row('nudge', format(one.by)),
      row('loss before', format(one.before, 7)),
      row('loss after', format(one.after, 7)),
      row('measured change', format(change), 'measured'),
    ];
    if (slope !== null && shown.mayTell(one.leaf)) {
      const predicted = slope * one.by;
      rows.push(row('gradient × nudge', `${format(slope)} × ${format(one.by)} = ${format(predicted)}`, 'predicted'));
      if (predicted !== 0) rows.push(row('measured ÷ predicted', format(change / predicted), 'ratio'));
    } else if (slope !== null) {
      rows.push(row('gradient × nudge', '? (step backward until its gradient is complete)'));
    }
    if (state.trace.live) parts.push(live(state, one, on, 'live-nudge'));
    parts.push(html('table', { class: 'nudge' }, html('tbody', {}, ...rows)));
    parts.push(quiet('They agree closely, not exactly: the gradient is the slope at one point, and the loss is '
      + 'curved. A smaller nudge agrees better, until rounding hides the change.'));
    return parts;
  }

  // ----- Drag -----

  // Built once for a run; `update` then moves what a drag moves.
  function drag(state, on) {
    const { handles } = state.prepared.run;
    if (handles.length === 0) return null;
    const at = state.drag === null ? 0 : handles.indexOf(state.drag.handle);
    const handle = handles[at];
    const slider = html('input', {
      type: 'range', id: 'drag', min: 0, max: handle.values.length - 1, step: 1,
      value: state.drag === null ? handle.at : state.drag.at, 'aria-label': `Value of ${nameOf(state, handle)}`,
      oninput: (event) => on.drag(handle, Number(event.target.value)),
    });
    const said = html('output', { id: 'dragged', for: 'drag' });
    const plot = svg('svg', { class: 'curve', viewBox: '0 0 320 150', role: 'img' });
    const back = button('As it was', () => on.drag(handle, handle.at));
    const root = html('div', {}, html('h3', {}, 'Drag a number'),
      choice('handle', 'What:', handles.map((other) => nameOf(state, other)), at, (i) => on.drag(handles[i], handles[i].at)),
      html('p', { class: 'row' }, slider, back), html('p', {}, said), plot,
      state.trace.live ? live(state, handle, on, 'live-drag') : null);
    return { root, handle, slider, said, plot };
  }

  // Where Python serves the page, any value can be asked for.
  function live(state, { leaf, index }, on, id) {
    const field = html('input', { type: 'text', inputmode: 'decimal', size: 8, id });
    const ask = () => {
      const value = Number(field.value);
      if (field.value.trim() !== '' && Number.isFinite(value)) on.live(leaf, index, value);
    };
    field.addEventListener('keydown', (event) => { if (event.key === 'Enter') ask(); });
    return html('p', { class: 'row' }, html('label', {}, 'Any value: ', field), button('Run', ask));
  }

  function update(state, shown, parts) {
    const { handle, slider, said, plot } = parts;
    const at = state.drag === null ? handle.at : state.drag.at;
    slider.value = at;
    const x = handle.values[at];
    const lossAt = (i) => handle.steps[i].loss;
    const slope = shown.mayTell(handle.leaf) ? handle.steps[at].slope : null;
    slider.setAttribute('aria-valuetext', `${format(x)}, loss ${format(lossAt(at))}`);
    const gradient = slope === null ? '' : `, gradient (slope) = ${format(slope)}`;
    said.textContent = `${nameOf(state, handle)} = ${format(x)}, loss = ${format(lossAt(at))}${gradient}`;
    plot.setAttribute('aria-label', `The loss over ${nameOf(state, handle)}, with the tangent here`);
    curve(plot, handle.values, handle.values.map((_, i) => lossAt(i)), at, slope);
  }

  // The measured losses, joined by straight lines; the tangent has the gradient as its slope.
  function curve(plot, xs, ys, at, slope) {
    const [left, right, top, bottom] = [56, 308, 12, 124];
    const finite = ys.filter(Number.isFinite);
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const spanX = xs[xs.length - 1] - xs[0] || 1;
    const spanY = high - low || 1;
    const px = (x) => left + ((x - xs[0]) / spanX) * (right - left);
    const py = (y) => bottom - ((y - low) / spanY) * (bottom - top);
    const text = (x, y, anchor, content) => svg('text', { x, y, 'text-anchor': anchor }, content);
    plot.replaceChildren(
      svg('path', { class: 'axis', d: `M${left} ${top}V${bottom}H${right}`, fill: 'none' }),
      text(left - 4, bottom, 'end', format(low, 3)), text(left - 4, top + 8, 'end', format(high, 3)),
      text(left, bottom + 16, 'middle', format(xs[0], 3)),
      text(right, bottom + 16, 'end', format(xs[xs.length - 1], 3)),
      text((left + right) / 2, bottom + 16, 'middle', 'its value'), text(left + 6, top + 2, 'start', 'loss'),
    );
    const points = xs.map((x, i) => [px(x), py(ys[i])]).filter((point) => point.every(Number.isFinite));
    plot.append(svg('polyline', { class: 'loss', points: points.map((p) => p.join(',')).join(' '), fill: 'none' }));
    for (const [cx, cy] of points) plot.append(svg('circle', { class: 'point', cx, cy, r: 2.5 }));
    if (slope !== null && Number.isFinite(ys[at])) {
      const [dx, dy] = [(right - left) / spanX, (slope * (top - bottom)) / spanY];
      const size = 70 / Math.hypot(dx, dy);
      const [x, y] = [px(xs[at]), py(ys[at])];
      const ends = { x1: x - size * dx, y1: y - size * dy, x2: x + size * dx, y2: y + size * dy };
      plot.append(svg('line', { class: 'tangent', ...ends }));
    }
    if (Number.isFinite(ys[at])) plot.append(svg('circle', { class: 'here', cx: px(xs[at]), cy: py(ys[at]), r: 5 }));
  }

  return { nudge, drag, update };
})();
