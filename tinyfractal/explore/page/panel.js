// Panel: what is said of one box, in words, numbers, formulas and lines of code.

const Panel = (() => {
  'use strict';

  const { html, button, quiet } = Dom;
  const KINDS = {
    step: 'step', leaf: 'leaf: gets a gradient', constant: 'constant: gets no gradient', ghost: 'left out by drop-path',
  };
  const question = () => html('span', { class: 'cover' }, '?');

  // ----- The selected box -----

  // `on` says what to call: select(id), fold(path), open(path), reveal(), nudge(id, cell).
  function box(state, shown, chosen, on) {
    const { prepared, trace } = state;
    const { now } = shown;
    const node = chosen.path === null ? chosen.nodes[0] : Graph.shownNode(chosen);
    const parts = [heading(chosen, node), trail(chosen, node, on)];
    if (chosen.path !== null) {
      const last = node.label || node.name;
      parts.push(html('p', {}, `${chosen.steps} steps are folded into this box. You see the last of them, ${last}.`));
    }
    if (node.kind !== 'step') {
      parts.push(html('p', {}, node.forward || ''));
      if (node.kind === 'ghost') return parts;
    } else {
      for (const [mode, title] of [['forward', 'Forward'], ['backward', 'Backward']]) {
        const above = now.node === node.id && now.mode === mode;  // it stands over the graph then
        if (!above) parts.push(html('p', { class: 'quiet' }, html('b', {}, `${title}: `), node[mode]));
      }
    }
    if (now.node === node.id && shown.given.length > 0) parts.push(gifts(state, shown, on));
    parts.push(samples(node, shown, state, on));
    const arrived = shown.gradient(node.id).parts;
    if (arrived.length > 1) {
      const from = arrived.map((part) => prepared.nodes.get(part.step).label).join(', ');
      parts.push(quiet(`Its gradient has ${arrived.length} parts, which add: from ${from}.`));
    }
    const rule = node.rule === null ? undefined : trace.rules[node.rule];
    if (rule) parts.push(...derivative(node, rule));
    if (node.stack.length > 0) parts.push(...stack(node, trace.sources));
    return parts;
  }

  function heading(chosen, node) {
    const kind = chosen.path === null ? KINDS[node.kind] : 'folded';
    const name = chosen.path === null && node.name !== chosen.label ? ` ${node.name}` : '';
    return html('h2', {}, chosen.label, html('small', {}, `${name} (${kind})`));
  }

  // The modules around it, each with a button that folds it; a folded box has one that opens it.
  function trail(chosen, node, on) {
    const all = Folding.paths(node);
    const paths = chosen.path === null ? all : all.slice(0, all.indexOf(chosen.path));
    const folds = paths.map((path, i) => button(node.group[i], () => on.fold(path), {
      class: 'crumb', title: `Fold ${path} into one box`, 'aria-label': `Fold ${path}`,
    }));
    if (chosen.path !== null) folds.push(button(`Open ${chosen.label}`, () => on.open(chosen.path), { class: 'crumb' }));
    if (folds.length === 0) return null;
    return html('p', { class: 'trail' }, paths.length > 0 ? 'Fold: ' : '', ...folds);
  }

  // ----- What the current step gives to its inputs, or the question what that is -----

  function gifts(state, shown, on) {
    const title = shown.covered ? 'Predict: what does each input get?' : 'What each input gets';
    const lines = shown.given.map((entry) => {
      const input = state.prepared.nodes.get(entry.input);
      const name = input.label || input.name || input.kind;
      return html('li', {}, button(name, () => on.select(entry.input), { class: 'crumb' }), gift(entry, shown.covered));
    });
    const reveal = shown.covered ? button('Reveal (R)', on.reveal, { id: 'reveal', class: 'main' }) : null;
    return html('section', { class: 'gifts', 'aria-label': title }, html('h3', {}, title), html('ul', {}, ...lines), reveal);
  }

  function gift(entry, covered) {
    if (covered) return Numbers.isSingle(entry.part) ? guess(entry.part.rows[0][0]) : question();
    return entry.part ? Heat.sum(entry.before, entry.part, entry.after) : quiet('not recorded for this dragged value');
  }

  // A field to type a guess into; what it was is told kindly.
  function guess(truth) {
    const answer = html('span', { role: 'status' });
    const field = html('input', { type: 'text', inputmode: 'decimal', size: 8, 'aria-label': 'Your guess' });
    const check = () => { answer.textContent = judge(field.value.trim().replace(',', '.').replace('−', '-'), truth); };
    field.addEventListener('keydown', (event) => { if (event.key === 'Enter') check(); });
    return html('span', { class: 'guess' }, question(), field, button('Check', check), answer);
  }

  function judge(text, truth) {
    const said = Number(text);
    if (text === '' || Number.isNaN(said)) return 'A number, please, such as -0.25.';
    if (Math.abs(said - truth) <= 0.02 * Math.abs(truth)) return 'Yes, well done! Reveal it to see all digits.';
    if (Math.sign(said) !== Math.sign(truth) && truth !== 0) return 'Not yet: look at the sign again.';
    return Math.abs(said) < Math.abs(truth) ? 'Not yet: it is further from zero.' : 'Not yet: it is nearer to zero.';
  }

  // ----- Numbers -----

  function samples(node, shown, state, on) {
    const { nudges } = state;
    const isAt = ({ leaf, cell }, i, j) => leaf === node.id && cell !== null && cell[0] === i && cell[1] === j;
    const cells = node.kind !== 'leaf' ? null : {
      may: (i, j) => nudges.some((nudge) => isAt(nudge, i, j)),
      chosen: (i, j) => isAt(nudges[state.nudge], i, j),
      choose: (i, j) => on.nudge(node.id, [i, j]),
    };
    const value = shown.value(node.id);
    const { sample, complete, covered } = shown.gradient(node.id);
    const section = html('section', { class: 'samples', 'aria-label': 'Numbers' });
    if (value) section.append(Heat.map(value, 'value', cells));
    else if (node.value) section.append(quiet('Its value is not computed yet.'));
    else section.append(quiet('Its value was not kept: backward does not need it.'));
    if (covered) section.append(html('p', {}, question(), ' The gradient is covered.'));
    else if (sample) section.append(Heat.map(sample, complete ? 'gradient' : 'gradient so far'));
    else section.append(quiet(whyNot(node, shown, state)));
    if (section.querySelector('.heat:not(.few)')) section.append(Heat.legend());
    return section;
  }

  function whyNot(node, shown, state) {
    if (node.kind === 'constant') return 'No gradient is asked for.';
    if (!node.grad) return 'No gradient reaches it.';
    if (shown.now.mode === 'forward') return 'Its gradient comes backward.';
    return Shown.moved(state) ? 'Not recorded for this dragged value.' : 'No gradient has arrived yet.';
  }

  // ----- The row of the derivative table, and where it was called -----

  function derivative(node, rule) {
    const { definition } = rule;
    const isQuick = definition !== null;
    const marked = new Set(rule.highlight.flat());
    const rest = marked.size > 0 ? ', the gradient rule is marked' : '';
    const row = rule.code.length === 0 ? [] // it was typed in, and no file has it
      : [source(rule, marked), html('p', { class: 'file' }, `${place(rule)}${rest}`)];
    return [
      html('h3', {}, isQuick ? 'Its definition' : 'Its row of the derivative table'),
      rule.formula ? html('p', { class: 'formula' }, rule.formula) : null,
      node.settings ? quiet(`with ${node.settings}`) : null,
      ...(isQuick ? [source(definition, new Set()), html('p', { class: 'file' }, place(definition))] : row),
      isQuick ? html('details', {}, html('summary', {}, 'The quicker rule that ran in its place'), ...row) : null,
    ];
  }

  const place = ({ file, numbers }) => `${file}:${numbers[0]}`;

  function source({ code, numbers }, marked) {
    const lines = code.map((text, i) => html('span',
      { class: marked.has(i) ? 'line marked' : 'line' },
      html('span', { class: 'number', 'aria-hidden': 'true' }, String(numbers[i])), text || ' '));
    const label = marked.size > 0 ? 'Source; the gradient rule is marked' : 'Source';
    return html('pre', { class: 'code', tabindex: 0, 'aria-label': label }, ...lines);
  }

  function stack(node, sources) {
    const items = node.stack.map((i) => sources[i]).map(({ file, line, function: name, code }) => html('li', {},
      html('span', { class: 'file' }, name === '' ? `${file}:${line}` : `${file}:${line} in ${name}`), html('code', {}, code)));
    return [html('h3', {}, 'The lines that made it'), html('ol', { class: 'stack' }, ...items)];
  }

  // ----- All steps in words -----

  function list(state, go) {
    const { nodes, order, run } = state.prepared;
    return [['forward', order], ['backward', run.visits]].map(([mode, ids]) => {
      const words = (id) => nodes.get(id)[mode] || nodes.get(id).label;
      const items = ids.map((id, k) => html('li', {}, button(words(id), () => go(mode, k + 1))));
      const steps = html('ol', { class: 'steps', 'data-mode': mode }, ...items);
      const title = `All steps ${mode}`;
      return html('section', { 'aria-label': title }, html('h3', {}, title), steps);
    });
  }

  function markList(root, now) {
    for (const old of root.querySelectorAll('[aria-current]')) old.removeAttribute('aria-current');
    const item = root.querySelector(`ol[data-mode="${now.mode}"] > li:nth-child(${now.k})`);
    if (item) item.firstChild.setAttribute('aria-current', 'step');
  }

  return { box, list, markList };
})();
