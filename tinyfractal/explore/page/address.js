// Address: the state of the page as "#run=1&mode=backward&step=23&node=n7", so that a link leads to
// a step. Inside a notebook's frame there may be no address of one's own; then nothing is kept.

const Address = (() => {
  'use strict';

  function read() {
    let text = '';
    try { text = location.hash.slice(1); } catch { /* a frame without an address */ }
    const found = new URLSearchParams(text);
    const number = (name) => {
      const x = parseInt(found.get(name), 10);
      return Number.isInteger(x) ? x : null;
    };
    return {
      run: number('run'),
      mode: found.get('mode') === 'backward' ? 'backward' : 'forward',
      step: number('step'),
      node: found.get('node'),
      predict: found.get('predict') === '1',
      drag: (found.get('drag') || '').split('-').map((part) => parseInt(part, 10)),
      open: found.getAll('open'),
      fold: found.getAll('fold'),
    };
  }

  function write(entries) {
    const text = new URLSearchParams(entries.filter(([, value]) => value !== null)).toString();
    try { history.replaceState(null, '', `#${text}`); } catch { /* about:srcdoc, or too often */ }
  }

  return { read, write };
})();
