// Numbers: how they are written, coloured and added. It knows nothing of graphs.
//
// A sample is what the tracer kept of an array: {shape, rows, index, left_out, min, max, mean}.

const Numbers = (() => {
  'use strict';

  const NEGATIVE = ['#16384f', '#2f6690', '#9dbbd1'];  // strongest first
  const POSITIVE = ['#7a3a06', '#d9701a', '#f2bd90'];
  const ZERO = '#f6f4f0';

  // 4 significant digits (3 beside an exponent), a true minus sign; no number stays as it is.
  function format(x, digits = 4) {
    if (x === null || x === undefined) return '–';
    if (!Number.isFinite(x)) return String(x).replace('-', '−').replace('Infinity', 'inf').replace('NaN', 'nan');
    if (x === 0) return '0';
    const size = Math.abs(x);
    let text = Number(x.toPrecision(digits)).toString();
    if (size < 1e-3 || size >= 1e6) {
      text = x.toExponential(digits === 4 ? 2 : digits - 1).replace(/\.?0+e/, 'e').replace('e+', 'e');
    }
    return text.replace(/-/g, '−');
  }

  const isSingle = (sample) => sample !== null && sample.shape.length === 0;
  const write = (sample, digits) => format(sample.rows[0][0], digits);  // of a single number
  const shapeText = (shape) => (shape.length === 0 ? 'a single number' : shape.join(' × '));

  // The largest absolute value of the whole array: the end of the colour scale.
  function reach(sample) {
    let most = sample.scale || 0;
    for (const x of [sample.min, sample.max, ...sample.rows.flat()]) {
      if (Number.isFinite(x)) most = Math.max(most, Math.abs(x));
    }
    return most;
  }

  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

  function mix(from, to, t) {
    const [a, b] = [channels(from), channels(to)];
    return a.map((x, i) => Math.round(x + (b[i] - x) * t));
  }

  // Blue below zero, orange above, almost white at zero; `most` is where the colours end.
  function colour(x, most) {
    if (!Number.isFinite(x)) return [176, 60, 140];
    if (most === 0) return channels(ZERO);
    const t = Math.min(1, Math.abs(x) / most);
    const [dark, middle, light] = x < 0 ? NEGATIVE : POSITIVE;
    if (t < 1 / 3) return mix(ZERO, light, t * 3);
    if (t < 2 / 3) return mix(light, middle, t * 3 - 1);
    return mix(middle, dark, t * 3 - 2);
  }

  const isDark = ([r, g, b]) => 0.3 * r + 0.59 * g + 0.11 * b < 140;
  const css = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

  // A small picture of a sample, one pixel for each number.
  const pictures = new WeakMap();
  function picture(sample) {
    if (!pictures.has(sample)) {
      const canvas = document.createElement('canvas');
      canvas.height = Math.max(1, sample.rows.length);
      canvas.width = Math.max(1, ...sample.rows.map((row) => row.length));
      const context = canvas.getContext('2d');
      const most = reach(sample);
      sample.rows.forEach((row, i) => row.forEach((x, j) => {
        context.fillStyle = css(colour(x, most));
        context.fillRect(j, i, 1, 1);
      }));
      pictures.set(sample, canvas.toDataURL());
    }
    return pictures.get(sample);
  }

  // What is not finite comes as text, since JSON has no word for it.
  const parse = (x) => (typeof x === 'number' ? x : { inf: Infinity, '-inf': -Infinity }[x] ?? NaN);

  // Gradients add, number by number. What min and max of the whole sum are is not known here.
  const add = (a, b) => withRows(a, a.rows.map((row, i) => row.map((x, j) => parse(x) + parse(b.rows[i][j]))));

  // The same slice with other numbers; min, max and mean are then known for a whole array only.
  function withRows(sample, rows) {
    const all = rows.flat();
    const known = sample.left_out === '' && all.every(Number.isFinite);
    return {
      ...sample,
      rows,
      min: known ? Math.min(...all) : null,
      max: known ? Math.max(...all) : null,
      mean: known ? all.reduce((sum, x) => sum + x, 0) / all.length : null,
    };
  }

  return { format, isSingle, write, shapeText, reach, colour, isDark, css, picture, add, withRows };
})();
