// Main: holds the state, listens to buttons and keys, and lets the others show it.
//
// All files of this folder end up in one <script>, in the order of their names. Each gives one name
// (Dom, Graph …) to the others; this one begins when the page is there.

document.addEventListener('DOMContentLoaded', () => {
  'use strict';

  const { html, button, byId } = Dom;
  const trace = JSON.parse(byId('trace').textContent);
  const state = {
    trace,
    run: 0,
    prepared: null,     // the run, with what Steps.prepare found out about it
    nudges: [],         // of the run
    nudge: 0,           // which of them is shown
    position: 0,        // see steps.js
    pinned: null,       // the box that was chosen by hand; null: the one of the current step
    folded: new Set(),  // paths of modules that are drawn as one box
    usual: new Set(),   // those that are folded at first
    automatic: [],      // those that were folded to keep the picture small enough
    predict: false,
    revealed: false,
    drag: null,         // {handle, at}
    zoom: 'read',       // see pane.js
  };
  let view = null;
  let layout = null;
  let drawn = null;
  let trial = null;
  let timer = null;
  const panel = {};

  // ----- Runs and folding -----

  function setRun(index, keep) {
    const before = state.prepared && keep ? Places.leave(state) : null;
    state.run = index;
    state.prepared = Steps.prepare(trace.runs[index]);
    state.nudges = trace.runs[index].nudges;
    state.nudge = 0;
    state.drag = null;
    state.revealed = false;
    const usual = Folding.initial(state.prepared.run);
    state.usual = usual.folded;
    if (before === null) ({ folded: state.folded, added: state.automatic } = usual);
    fold(state.folded);
    if (before !== null) Places.comeBack(state, view, before);
    byId('slider').max = Steps.last(state.prepared);
    buildTrial();
    panel.list.replaceChildren(...Panel.list(state, go));
  }

  // Take over which groups are folded, fold more if there are too many boxes, and draw anew.
  function fold(folded, kept = null) {
    const { folded: enough, added } = Folding.reduce(state.prepared.run, folded, kept);
    state.folded = enough;
    state.automatic = [...state.automatic.filter((path) => enough.has(path)), ...added];
    view = Folding.view(state.prepared, enough);
    if (state.pinned !== null && !view.boxes.has(state.pinned)) state.pinned = null;
    layout = Layout.place(view);
    drawn = Graph.draw(byId('graph'), layout, view, { select: selectBox });
    Pane.resize(state.zoom, layout);
    sayFolds();
  }

  function sayFolds() {
    const paths = [...state.folded].filter((path) => view.boxes.has(`group:${path}`));
    const line = byId('folds');
    line.replaceChildren();
    if (paths.length === 0) return;
    const many = state.automatic.some((path) => paths.includes(path));
    line.append(many ? `Folded, so that at most ${Folding.LIMIT} boxes are drawn; open: ` : 'Folded; open: ');
    paths.forEach((path) => line.append(button(path, () => openGroup(path), { class: 'crumb' })));
  }

  function openGroup(path) {
    const folded = new Set(state.folded);
    folded.delete(path);
    const first = view.boxes.get(`group:${path}`).nodes[0].id;
    fold(folded, path);
    state.pinned = view.boxOf.get(first);
    show({ focus: state.pinned });
  }

  function foldGroup(path) {
    fold(new Set([...state.folded].filter((other) => !other.startsWith(`${path}.`)).concat(path)));
    state.pinned = `group:${path}`;
    show({ focus: state.pinned });
  }

  // Choose a box by hand; of a leaf, the first number is ready to be nudged.
  function pin(id) {
    state.pinned = id;
    const nudge = state.nudges.findIndex((one) => one.leaf === id);
    if (nudge >= 0) state.nudge = nudge;
  }

  function selectBox(box) {
    if (box.path !== null) {
      openGroup(box.path);
      return;
    }
    pin(box.id);
    const handle = state.prepared.run.handles.find((one) => one.leaf === box.id);
    if (handle && (trial === null || trial.handle.leaf !== box.id) && !Shown.moved(state)) {
      state.drag = { handle, at: handle.at };
      buildTrial();
    }
    show();
  }

  // ----- Steps -----

  const boxAt = (position) => {
    const { node } = Steps.at(state.prepared, position);
    return node === null ? null : view.boxOf.get(node);
  };

  // The steps inside a folded box count as one: stop only where it has done the last of them.
  function isStop(position) {
    const box = boxAt(position);
    if (box === null || !box.startsWith('group:') || position === state.prepared.F) return true;
    return position >= Steps.last(state.prepared) || boxAt(position + 1) !== box;
  }

  function goTo(position, animate = true) {
    const end = Steps.last(state.prepared);
    state.position = Math.max(0, Math.min(end, position));
    state.pinned = null;
    state.revealed = false;
    show({ animate });
  }

  function move(way) {
    const end = Steps.last(state.prepared);
    let position = state.position + way;
    while (position > 0 && position < end && !isStop(position)) position += way;
    if (position >= 0 && position <= end) goTo(position, way > 0);
  }

  const go = (mode, k) => { pause(); goTo(Steps.position(state.prepared, mode, k)); };

  function reveal() {
    if (!Shown.of(state).covered) return;
    state.revealed = true;
    const inside = byId('panel').contains(document.activeElement);
    show({ animate: true });
    if (inside) byId('panel').focus();
  }

  // ----- Playing -----

  function play() {
    if (state.position >= Steps.last(state.prepared)) goTo(0);
    if (Shown.of(state).covered) reveal();
    const tick = () => {
      const { F } = state.prepared;
      move(1);
      const over = state.position === F || state.position >= Steps.last(state.prepared);
      if (over || Shown.of(state).covered) pause(); // a question waits for its answer
      else timer = setTimeout(tick, Number(byId('speed').value));
    };
    timer = setTimeout(tick, 150);
    showPlaying();
  }

  function pause() {
    clearTimeout(timer);
    timer = null;
    showPlaying();
  }

  function showPlaying() {
    byId('play').textContent = timer === null ? 'Play' : 'Pause';
    byId('play').setAttribute('aria-label', timer === null ? 'Play' : 'Pause');
  }

  const toggle = () => { if (timer === null) play(); else pause(); };

  function playMode(mode) {
    pause();
    const now = Steps.at(state.prepared, state.position);
    const end = mode === 'forward' ? state.prepared.F : Steps.last(state.prepared);
    if (now.mode !== mode || state.position === end) goTo(Steps.position(state.prepared, mode, 0));
    play();
  }

  // ----- Trials -----

  function buildTrial() {
    trial = Trials.drag(state, { drag: dragTo, live: runLive });
    panel.drag.replaceChildren(...(trial === null ? [] : [trial.root]));
  }

  function dragTo(handle, at) {
    const other = trial.handle !== handle;
    state.drag = { handle, at };
    if (other) buildTrial();
    show();
  }

  async function runLive(leaf, index, value) {
    const body = JSON.stringify({ run: state.run, leaf, index, value });
    try {
      const answer = await fetch(trace.live, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
      if (!answer.ok) throw new Error(`${answer.status} ${answer.statusText}`);
      const { run } = await answer.json();
      Folding.divide(run);
      trace.runs[state.run] = run;
    } catch (error) {
      byId('sentence').textContent = `The Python that serves this page did not answer: ${error.message}`;
      return;
    }
    const same = (one) => one.leaf === leaf && one.index.join() === index.join();
    setRun(state.run, true);
    state.nudge = Math.max(0, state.nudges.findIndex(same));
    const handle = state.prepared.run.handles.find(same);
    if (handle) {
      state.drag = { handle, at: handle.at };
      buildTrial();
    }
    show();
  }

  // ----- Showing -----

  // Everything that depends on the state; `focus` is a box to be focused, `animate` a step taken.
  function show({ animate = false, focus = null } = {}) {
    const { prepared } = state;
    const shown = Shown.of(state);
    const { now } = shown;
    const current = now.node === null ? null : view.boxOf.get(now.node);
    const start = view.boxOf.get(now.mode === 'backward' ? prepared.run.output : prepared.run.nodes[0].id);
    const selected = state.pinned ?? current ?? start;
    document.body.dataset.mode = now.mode;
    byId('slider').value = state.position;
    const count = `${now.mode === 'forward' ? 'Forward' : 'Backward'} ${now.k} of ${Steps.count(prepared, now.mode)}`;
    byId('count').textContent = count;
    byId('slider').setAttribute('aria-valuetext', count);
    const text = Words.sentence(state, shown, view, trial !== null);
    if (byId('sentence').textContent !== text) byId('sentence').textContent = text;
    byId('forward').setAttribute('aria-pressed', String(now.mode === 'forward'));
    byId('backward').setAttribute('aria-pressed', String(now.mode === 'backward'));
    const end = Steps.last(prepared);
    for (const [id, off] of [['first', 0], ['back', 0], ['next', end], ['last', end]]) {
      byId(id).setAttribute('aria-disabled', String(state.position === off));
    }
    Graph.update(drawn, state, shown, selected, animate);
    const inside = panel.box.contains(document.activeElement);
    panel.box.replaceChildren(...Panel.box(state, shown, view.boxes.get(selected), {
      fold: foldGroup, open: openGroup, reveal, nudge: chooseCell,
      select: (id) => { pin(view.boxOf.get(id)); show(); },
    }).filter(Boolean));
    if (inside) byId('panel').focus({ preventScroll: true });
    showNudge(shown);
    if (trial !== null) Trials.update(state, shown, trial);
    Panel.markList(panel.list, now);
    if (focus !== null) drawn.boxes.get(focus).g.focus({ preventScroll: true });
    const target = focus ?? (animate ? current : null);
    if (target !== null) {
      const beside = shown.given.map((entry) => view.boxes.get(view.boxOf.get(entry.input)));
      Pane.bringIntoView(state.zoom, layout, view.boxes.get(target), beside, timer !== null);
    }
    writeAddress(now);
  }

  function showNudge(shown) {
    const active = panel.nudge.contains(document.activeElement) ? document.activeElement.id : null;
    const chooseNudge = (i) => { state.nudge = i; show(); };
    panel.nudge.replaceChildren(...Trials.nudge(state, shown, { chooseNudge, live: runLive }));
    if (active && byId(active)) byId(active).focus();
  }

  function chooseCell(leaf, [i, j]) {
    const isIt = ({ leaf: other, cell }) => other === leaf && cell && cell[0] === i && cell[1] === j;
    state.nudge = state.nudges.findIndex(isIt);
    show();
  }

  function writeAddress(now) {
    const { usual } = state;
    const { handles } = state.prepared.run;
    Address.write([
      ['run', String(state.run)], ['mode', now.mode], ['step', String(now.k)], ['node', state.pinned],
      ['predict', state.predict ? '1' : null],
      ['drag', Shown.moved(state) ? `${handles.indexOf(state.drag.handle)}-${state.drag.at}` : null],
      ...[...usual].filter((path) => !state.folded.has(path)).map((path) => ['open', path]),
      ...[...state.folded].filter((path) => !usual.has(path)).map((path) => ['fold', path]),
    ]);
  }

  function restore() {
    const wanted = Address.read();
    const index = wanted.run !== null && trace.runs[wanted.run] ? wanted.run : 0;
    state.pinned = null;
    setRun(index, false);
    if (wanted.open.length + wanted.fold.length > 0) {
      const folded = new Set([...state.folded].filter((path) => !wanted.open.includes(path)));
      const known = new Set(state.prepared.run.nodes.flatMap(Folding.paths));
      fold(new Set([...folded, ...wanted.fold.filter((path) => known.has(path))]), wanted.open[0] ?? null);
    }
    byId('run').value = String(index);
    state.predict = wanted.predict;
    byId('predict').checked = wanted.predict;
    state.revealed = false;
    state.position = Steps.position(state.prepared, wanted.mode, wanted.step ?? 0);
    const handle = state.prepared.run.handles[wanted.drag[0]];
    if (handle && handle.steps[wanted.drag[1]]) {
      state.drag = { handle, at: wanted.drag[1] };
      buildTrial();
    }
    if (wanted.node !== null && view.boxes.has(wanted.node)) pin(wanted.node);
    show();
    const { node } = Steps.at(state.prepared, state.position);
    if (node !== null) Pane.bringIntoView(state.zoom, layout, view.boxes.get(view.boxOf.get(node)), [], false);
  }

  // ----- Listening -----

  const KEYS = {
    ArrowRight: () => { pause(); move(1); },
    ArrowLeft: () => { pause(); move(-1); },
    Home: () => { pause(); goTo(0, false); },
    End: () => { pause(); goTo(Steps.last(state.prepared), false); },
    ' ': toggle,
    r: reveal,
    f: () => playMode('forward'),
    b: () => playMode('backward'),
    '?': toggleHelp,
    Escape: () => { if (!byId('help').hidden) toggleHelp(); else { state.pinned = null; show(); } },
  };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const tag = event.target.tagName;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(tag) && event.target.type !== 'checkbox') return;
    if (event.key === ' ' && /^(BUTTON|INPUT)$/.test(tag)) return;
    const action = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  function toggleHelp() {
    const help = byId('help');
    help.hidden = !help.hidden;
    byId('help-button').setAttribute('aria-expanded', String(!help.hidden));
  }

  function start() {
    for (const name of ['box', 'nudge', 'drag', 'list']) {
      panel[name] = html('div', { class: `part ${name}` });
    }
    byId('panel').append(panel.box, panel.drag, panel.nudge, panel.list);
    if (trace.note) byId('panel').prepend(html('p', { class: 'note' }, trace.note));
    trace.runs.forEach(Folding.divide);
    trace.runs.forEach((run, i) => byId('run').append(html('option', { value: i }, run.name)));
    byId('run-label').hidden = trace.runs.length < 2;
    byId('run').addEventListener('change', (event) => { pause(); setRun(Number(event.target.value), true); show(); });
    byId('forward').addEventListener('click', () => playMode('forward'));
    byId('backward').addEventListener('click', () => playMode('backward'));
    byId('first').addEventListener('click', KEYS.Home);
    byId('back').addEventListener('click', KEYS.ArrowLeft);
    byId('play').addEventListener('click', toggle);
    byId('next').addEventListener('click', KEYS.ArrowRight);
    byId('last').addEventListener('click', KEYS.End);
    byId('slider').addEventListener('input', (event) => { pause(); goTo(Number(event.target.value)); });
    byId('predict').addEventListener('change', (event) => {
      state.predict = event.target.checked;
      state.revealed = false;
      show();
    });
    byId('help-button').addEventListener('click', toggleHelp);
    byId('skip').addEventListener('click', (event) => { event.preventDefault(); byId('panel').focus(); });
    const zoom = (to) => { state.zoom = to; Pane.resize(to, layout); };
    byId('smaller').addEventListener('click', () => zoom(Pane.scale(state.zoom, layout) / 1.25));
    byId('larger').addEventListener('click', () => zoom(Pane.scale(state.zoom, layout) * 1.25));
    byId('fit').addEventListener('click', () => zoom(state.zoom === 'whole' ? 'read' : 'whole'));
    window.addEventListener('resize', () => Pane.resize(state.zoom, layout));
    window.addEventListener('hashchange', () => { pause(); restore(); });
    document.addEventListener('keydown', onKey);
    restore();
  }

  start();
});
