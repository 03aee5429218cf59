// Words: the sentence over the graph, of the step that was done last.

const Words = (() => {
  'use strict';

  const { isSingle, write } = Numbers;
  const START = 'Start here: press Forward ▾ and watch the values come, or → for one step. '
    + 'Then Backward ▴ follows the gradient up.';
  const TURN = 'Backward starts at the end: the gradient of the loss with respect to itself is 1. '
    + 'Press → and it moves up.';

  function sentence(state, shown, view, canDrag) {
    const { prepared } = state;
    const { mode, k, node: id } = shown.now;
    if (k === 0) return mode === 'forward' ? START : TURN;
    const node = prepared.nodes.get(id);
    const box = view.boxes.get(view.boxOf.get(id));
    let text = node[mode] || node.label;
    if (box.path !== null) text = `${box.label}, folded: ${box.steps} steps. The last: ${text}`;
    if (!/[.!?]$/.test(text)) text += '.';
    if (mode === 'forward' && k < prepared.F) return text;
    if (mode === 'forward') return `${text}${result(prepared, shown)} Now press Backward ▴.`;
    if (shown.covered) return `${text} What does each input get? Think, then reveal (R).`;
    text += meeting(prepared, shown);
    if (k < prepared.B) return text;
    text += ' That was the last step: each leaf has its gradient.';
    return canDrag ? `${text} Now drag a number in the panel.` : text;
  }

  function result(prepared, shown) {
    const loss = shown.value(prepared.run.output);
    return isSingle(loss) ? ` It ends in ${write(loss)}.` : '';
  }

  // Where a gradient was there already, the new part adds to it.
  function meeting(prepared, shown) {
    const met = shown.given.find((entry) => entry.before && entry.part);
    if (!met) return '';
    const said = ` At ${prepared.nodes.get(met.input).label || 'its input'} paths meet, and gradients add`;
    if (!isSingle(met.part)) return `${said}.`;
    const { after } = shown.given.findLast((entry) => entry.input === met.input);
    return `${said}: ${Steps.terms(shown.given, met.input).map((term) => write(term)).join(' + ')} = ${write(after)}.`;
  }

  return { sentence };
})();
