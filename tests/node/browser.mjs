// As much of a browser as JupyterLab's models touch while they are imported.
import { register } from 'node:module';
import { JSDOM } from 'jsdom';

const { window } = new JSDOM('', { url: 'http://localhost/', pretendToBeVisual: true });

for (const name of Object.getOwnPropertyNames(window)) {
  if (!(name in globalThis)) {
    globalThis[name] = window[name];
  }
}
globalThis.DragEvent = class extends window.MouseEvent {};
window.matchMedia = () => ({ matches: false, addListener() {}, addEventListener() {} });
console.log = console.error; // standard output is for answers

register('./resolve.mjs', import.meta.url);
