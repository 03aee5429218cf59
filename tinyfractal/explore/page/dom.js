// Elements, made without HTML text: whatever a trace says (a variable may be called "<img>") is set
// as text and can be nothing else.

const Dom = (() => {
  'use strict';

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) => fill(
    document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);
  const button = (text, onclick, attributes = {}) => html('button', { type: 'button', onclick, ...attributes }, text);
  const quiet = (text) => html('p', { class: 'quiet' }, text);
  const byId = (id) => document.getElementById(id);

  // How wide a text will be, in the letters of this page.
  let pen = null;
  function textWidth(text, size, weight = 400) {
    pen ||= {
      context: document.createElement('canvas').getContext('2d'),
      family: getComputedStyle(document.body).fontFamily,
    };
    pen.context.font = `${weight} ${size}px ${pen.family}`;
    return pen.context.measureText(text).width;
  }

  function clip(text, room, size, weight) {
    if (textWidth(text, size, weight) <= room) return text;
    let length = text.length;
    while (length > 1 && textWidth(`${text.slice(0, length)}…`, size, weight) > room) length--;
    return `${text.slice(0, length)}…`;
  }

  // Whether nothing should move.
  const still = () => matchMedia('(prefers-reduced-motion: reduce)').matches;

  return { html, svg, button, quiet, textWidth, clip, still, byId };
})();
