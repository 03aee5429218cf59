// Heat maps: an array as coloured cells, with numbers inside where they are few.

const Heat = (() => {
  'use strict';

  const { html } = Dom;

  // `on` (optional): {may(i, j): whether a cell can be chosen, chosen(i, j), choose(i, j)}.
  function map(sample, name, on = null) {
    if (Numbers.isSingle(sample)) return single(sample, name);
    const most = Numbers.reach(sample);
    const columns = Math.max(1, ...sample.rows.map((row) => row.length));
    const few = columns <= 5 && columns * sample.rows.length <= 25;
    const readout = html('p', { class: 'readout', 'aria-live': 'polite' });
    const cells = [];
    const place = (i, j) => (sample.shape.length === 1 ? `${name}[${j}]` : `${name}, row ${i}, column ${j}`);
    const tell = (i, j) => { readout.textContent = `${place(i, j)}: ${Numbers.format(sample.rows[i][j], 6)}`; };
    const body = sample.rows.map((row, i) => html('tr', {}, ...row.map((x, j) => {
      const rgb = Numbers.colour(x, most);
      const cell = html('td', {
        style: `background:${Numbers.css(rgb)};color:${Numbers.isDark(rgb) ? '#fff' : '#1f2d3a'}`,
        title: Numbers.format(x, 6),
        class: on && on.may(i, j) ? (on.chosen(i, j) ? 'choice chosen' : 'choice') : null,
        onmouseenter: () => tell(i, j),
        onclick: () => { if (on && on.may(i, j)) on.choose(i, j); },
      }, few ? Numbers.format(x) : '');
      cells.push({ i, j, cell });
      return cell;
    })));
    const table = html('table', {
      class: few ? 'heat few' : 'heat',
      tabindex: 0,
      'aria-label': `${name}, ${Numbers.shapeText(sample.shape)}; arrow keys read its numbers`,
    }, html('tbody', {}, ...body));
    walk(table, cells, tell, on);
    return html('figure', { class: 'heatmap' },
      html('figcaption', {}, name),
      table,
      few ? null : readout,
      html('p', { class: 'facts' }, facts(sample)));
  }

  const single = (sample, name) => html('figure', { class: 'heatmap' }, html('figcaption', {}, name),
    html('p', { class: name === 'value' ? 'one' : 'one grad', title: Numbers.write(sample, 6) },
      Numbers.write(sample, 6)));

  // With the keyboard: arrows move inside the map, Enter chooses.
  function walk(table, cells, tell, on) {
    let at = null;
    const focus = (next) => {
      if (at) at.cell.classList.remove('at');
      at = next;
      at.cell.classList.add('at');
      tell(at.i, at.j);
    };
    table.addEventListener('focus', () => { if (!at) focus(cells[0]); });
    table.addEventListener('blur', () => { if (at) at.cell.classList.remove('at'); });
    table.addEventListener('keydown', (event) => {
      const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (move && at && cells.length > 1) {
        event.preventDefault();
        event.stopPropagation();
        const next = cells.find(({ i, j }) => i === at.i + move[0] && j === at.j + move[1]);
        if (next) focus(next);
      } else if (event.key === 'Enter' && at && on && on.may(at.i, at.j)) {
        on.choose(at.i, at.j);
      }
    });
  }

  function facts(sample) {
    const said = [`shape ${sample.shape.join(' × ')}`];
    if (Number.isFinite(sample.min)) {
      for (const name of ['min', 'mean', 'max']) said.push(`${name} ${Numbers.format(sample[name])}`);
    }
    if (sample.index) said.push(sample.index);
    if (sample.left_out) said.push(sample.left_out);
    return said.join(' · ');
  }

  // a + b = c, as numbers in a line or as three small maps.
  function sum(before, part, after) {
    if (Numbers.isSingle(part)) {
      const { write } = Numbers;
      return html('p', { class: 'sum' }, before ? `${write(before)} + ${write(part)} = ${write(after)}` : write(part));
    }
    const picture = (sample, caption) => html('span', { class: 'thumb' },
      html('img', { src: Numbers.picture(sample), alt: caption || 'what it gets' }), html('small', {}, caption));
    if (!before) return html('p', { class: 'sum' }, picture(part, `up to ${Numbers.format(Numbers.reach(part), 3)}`));
    return html('p', { class: 'sum' }, picture(before, 'was there'), ' + ', picture(part, 'arrives now'),
      ' = ', picture(after, 'together'));
  }

  const legend = () => html('p', { class: 'legend' }, 'negative ',
    html('span', { class: 'scale', 'aria-hidden': 'true' }), ' positive, almost white at zero');

  return { map, sum, legend };
})();
