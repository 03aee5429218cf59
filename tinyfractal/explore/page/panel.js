// Panel: what is said of one box, in words, numbers, formulas and lines of code.

const Panel = (() => {
  'use strict';

  const { html } = Dom;

  // ----- The selected box -----

  function box(state, shown, drawnBox, on) {
    const { prepared } = state;
    const node = drawnBox.path === null ? drawnBox.nodes[0] : Graph.shownNode(drawnBox);
    const parts = [heading(drawnBox, node), trail(drawnBox, node, state, on)];
    if (drawnBox.path !== null) {
      parts.push(html('p', {}, `${drawnBox.steps} steps are folded into this box. What you see here is the last of them, ${node.label || node.name}.`));
    }
    if (node.kind === 'ghost') {
      parts.push(html('p', {}, node.forward || 'Drop-path left this out. It is not computed, and no gradient reaches it.'));
      return parts;
    }
    const { now } = shown;
    if (node.kind === 'step') {
      for (const [mode, title] of [['forward', 'Forward'], ['backward', 'Backward']]) {
        const above = now.node === node.id && now.mode === mode;  // it stands over the graph then
        if (!above) parts.push(html('p', { class: 'quiet' }, html('b', {}, `${title}: `), node[mode]));
      }
    } else if (node.forward) {
      parts.push(html('p', {}, node.forward));
    }
    if (now.node === node.id && now.mode === 'backward') parts.push(...gifts(state, shown, on));
    parts.push(samples(node, shown, state, on));
    const arrived = shown.gradient(node.id).parts;
    if (arrived.length > 1) {
      parts.push(html('p', { class: 'quiet' }, `Its gradient has ${arrived.length} parts, which add: from ${arrived.map((part) => prepared.nodes.get(part.step).label).join(', ')}.`));
    }
    const rule = node.rule === null ? undefined : state.trace.rules[node.rule];
    if (rule) parts.push(...derivative(node, rule));
    if (node.stack.length > 0) parts.push(...stack(node, state.trace.sources));
    return parts;
  }

  function heading(drawnBox, node) {
    const kinds = { step: 'step', leaf: 'leaf: gets a gradient', constant: 'constant: gets no gradient', ghost: 'left out by drop-path' };
    const kind = drawnBox.path !== null ? 'folded' : kinds[node.kind];
    const name = node.name && node.name !== drawnBox.label && drawnBox.path === null ? ` ${node.name}` : '';
    return html('h2', {}, drawnBox.label, html('small', {}, `${name} (${kind})`));
  }

  // The modules around it, each with a button that folds it; a folded box has one that opens it.
  function trail(drawnBox, node, state, on) {
    const inside = drawnBox.path !== null;
    const all = Folding.paths(node);
    const paths = inside ? all.slice(0, all.indexOf(drawnBox.path)) : all;
    if (paths.length === 0 && !inside) return null;
    const buttons = paths.map((path, i) => html('button', {
      type: 'button', class: 'crumb', title: `Fold ${path} into one box`, 'aria-label': `Fold ${path}`, onclick: () => on.fold(path),
    }, node.group[i]));
    const open = inside ? html('button', { type: 'button', class: 'open', onclick: () => on.open(drawnBox.path) }, `Open ${drawnBox.label}`) : null;
    return html('p', { class: 'trail' }, paths.length > 0 ? 'Fold: ' : '', ...buttons, open);
  }

  // ----- What the current step gives to its inputs, or the question what that is -----

  function gifts(state, shown, on) {
    if (shown.given.length === 0) return [];
    const title = shown.covered ? 'Predict: what does each input get?' : 'What each input gets';
    const rows = shown.given.map((entry) => {
      const input = state.prepared.nodes.get(entry.input);
      const name = input.label || input.name || input.kind;
      let content;
      if (shown.covered) content = Numbers.isSingle(entry.part) ? question(entry, on) : html('span', { class: 'cover' }, '?');
      else if (!entry.part) content = html('span', { class: 'quiet' }, 'its parts were not recorded for this dragged value');
      else content = Heat.sum(entry.before, entry.part, entry.after);
      const select = html('button', { type: 'button', class: 'crumb', onclick: () => on.select(entry.input) }, name);
      return html('li', {}, select, content);
    });
    const reveal = shown.covered ? html('button', { type: 'button', id: 'reveal', class: 'main', onclick: on.reveal }, 'Reveal (R)') : null;
    return [html('section', { class: 'gifts', 'aria-label': title }, html('h3', {}, title), html('ul', {}, ...rows), reveal)];
  }

  function question(entry, on) {
    const truth = entry.part.rows[0][0];
    const answer = html('span', { role: 'status' });
    const field = html('input', { type: 'text', inputmode: 'decimal', size: 8, 'aria-label': 'Your guess', autocomplete: 'off' });
    const check = () => {
      const guess = Number(field.value.trim().replace(',', '.').replace('−', '-'));
      if (field.value.trim() === '' || Number.isNaN(guess)) answer.textContent = ' A number, please, such as -0.25.';
      else if (Math.abs(guess - truth) <= Math.max(0.02 * Math.abs(truth), 1e-9)) answer.textContent = ' Yes, well done! Reveal it to see all digits.';
      else if (truth !== 0 && Math.sign(guess) !== Math.sign(truth)) answer.textContent = ' Not yet: look at the sign again.';
      else answer.textContent = Math.abs(guess) < Math.abs(truth) ? ' Not yet: it is further from zero.' : ' Not yet: it is nearer to zero.';
    };
    field.addEventListener('keydown', (event) => { if (event.key === 'Enter') check(); });
    return html('span', { class: 'guess' }, html('span', { class: 'cover' }, '?'), field,
      html('button', { type: 'button', onclick: check }, 'Check'), answer);
  }

  // ----- Numbers -----

  function samples(node, shown, state, on) {
    const section = html('section', { class: 'samples', 'aria-label': 'Numbers' });
    const value = shown.value(node.id);
    const { sample, complete, covered } = shown.gradient(node.id);
    const isAt = ({ cell }, i, j) => cell !== null && cell[0] === i && cell[1] === j;
    const chosen = {
      may: (i, j) => state.nudges.some((nudge) => nudge.leaf === node.id && isAt(nudge, i, j)),
      chosen: (i, j) => state.nudges[state.nudge].leaf === node.id && isAt(state.nudges[state.nudge], i, j),
      choose: (i, j) => on.nudge(node.id, [i, j]),
    };
    if (value) section.append(Heat.map(value, 'value', node.kind === 'leaf' ? chosen : null));
    else if (node.value) section.append(html('p', { class: 'quiet' }, 'Its value is not computed yet.'));
    else section.append(html('p', { class: 'quiet' }, 'Its value was not kept: backward does not need it.'));
    if (sample && !covered) section.append(Heat.map(sample, complete ? 'gradient' : 'gradient so far'));
    else if (covered) section.append(html('p', {}, html('span', { class: 'cover' }, '?'), ' The gradient is covered.'));
    else if (node.kind === 'constant') section.append(html('p', { class: 'quiet' }, 'No gradient is asked for.'));
    else if (!node.grad) section.append(html('p', { class: 'quiet' }, 'No gradient reaches it.'));
    else if (shown.now.mode === 'backward') section.append(html('p', { class: 'quiet' }, Shown.moved(state) ? 'Its gradient so far was not recorded for this dragged value.' : 'No gradient has arrived yet.'));
    if (section.querySelector('.heat:not(.few)')) section.append(Heat.legend());
    return section;
  }

  // ----- The row of the derivative table -----

  function derivative(node, rule) {
    const marks = new Map();
    rule.highlight.forEach((lines, i) => lines.forEach((line) => marks.set(line, [...(marks.get(line) || []), i + 1])));
    const lines = rule.code.replace(/\n$/, '').split('\n').map((code, i) => html('span', { class: marks.has(i) ? 'line marked' : 'line' },
      html('span', { class: 'number', 'aria-hidden': 'true' }, String(rule.line + i)), code || ' '));
    return [
      html('h3', {}, 'Its row of the derivative table'),
      rule.formula ? html('p', { class: 'formula' }, rule.formula) : null,
      node.settings ? html('p', { class: 'quiet' }, `with ${node.settings}`) : null,
      html('pre', { class: 'code', tabindex: 0, 'aria-label': 'Source; the gradient rule is marked' }, ...lines),
      html('p', { class: 'file' }, `${rule.file}:${rule.line}`, marks.size > 0 ? html('span', { class: 'quiet' }, ', the gradient rule is marked') : null),
    ];
  }

  function stack(node, sources) {
    const items = node.stack.map((i) => sources[i]).filter(Boolean).map(({ file, line, function: name, code }) => html('li', {},
      html('span', { class: 'file' }, `${file}:${line}`), html('span', { class: 'quiet' }, ` in ${name}`), html('code', {}, code)));
    return [html('h3', {}, 'The lines that made it'), html('ol', { class: 'stack' }, ...items)];
  }

  // ----- All steps in words -----

  function list(state, on) {
    const make = (title, mode, ids, text) => html('section', { 'aria-label': title }, html('h3', {}, title), html('ol', { class: 'steps', 'data-mode': mode },
      ...ids.map((id, k) => html('li', {}, html('button', { type: 'button', onclick: () => on.go(mode, k + 1) }, text(state.prepared.nodes.get(id)))))));
    return [
      make('All steps forward', 'forward', state.prepared.order, (node) => node.forward || node.label),
      make('All steps backward', 'backward', state.prepared.run.visits, (node) => node.backward || node.label),
    ];
  }

  function markList(root, now) {
    for (const old of root.querySelectorAll('[aria-current]')) old.removeAttribute('aria-current');
    const item = root.querySelector(`ol[data-mode="${now.mode}"] > li:nth-child(${now.k})`);
    if (item) item.firstChild.setAttribute('aria-current', 'step');
  }

  return { box, list, markList };
})();
