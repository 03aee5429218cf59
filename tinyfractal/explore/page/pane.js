// Pane: how large the graph is drawn, and which part of it is in sight.
//
// Zoom is 'read' (readable, and as wide as the pane allows), 'whole', or a number.

const Pane = (() => {
  'use strict';

  const ROOM = 40;  // pixels around what is brought into view

  function scale(zoom, layout) {
    const pane = Dom.byId('scroll');
    const wide = (pane.clientWidth - 4) / layout.width;
    const high = (pane.clientHeight - 4) / layout.height;
    if (zoom === 'read') return Math.min(1.15, Math.max(0.72, wide));
    if (zoom === 'whole') return Math.max(0.1, Math.min(1.15, wide, high));
    return Math.max(0.1, Math.min(3, zoom));
  }

  function resize(zoom, layout) {
    const by = scale(zoom, layout);
    Dom.byId('graph').setAttribute('width', layout.width * by);
    Dom.byId('graph').setAttribute('height', layout.height * by);
  }

  // Scroll to a box, and to those `beside` it where all of them fit.
  function bringIntoView(zoom, layout, box, beside, smooth) {
    const pane = Dom.byId('scroll');
    const by = scale(zoom, layout);
    const along = (centre, size, seen, length) => {
      const reach = (boxes) => [
        Math.min(...boxes.map((one) => one[centre] - one[size] / 2)) * by - ROOM,
        Math.max(...boxes.map((one) => one[centre] + one[size] / 2)) * by + ROOM,
      ];
      let [low, high] = reach([box, ...beside]);
      if (high - low > length) [low, high] = reach([box]);
      return low >= seen && high <= seen + length ? seen : Math.max(0, (low + high - length) / 2);
    };
    const left = along('cx', 'w', pane.scrollLeft, pane.clientWidth);
    const top = along('cy', 'h', pane.scrollTop, pane.clientHeight);
    pane.scrollTo({ left, top, behavior: smooth && !Dom.still() ? 'smooth' : 'instant' });
  }

  return { scale, resize, bringIntoView };
})();
