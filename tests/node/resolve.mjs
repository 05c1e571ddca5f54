// JupyterLab's packages are written for a bundler: they import files without their endings, and pictures.
import { readFile } from 'node:fs/promises';

export async function resolve(specifier, context, next) {
  if (/^@rjsf\/[a-z]+$/.test(specifier)) {
    specifier += '/lib/index.js'; // its "module" entry, which Node does not look at
  }
  for (const ending of ['', '.js', '/index.js']) {
    try {
      return await next(specifier + ending, context);
    } catch (error) {
      if (!['ERR_MODULE_NOT_FOUND', 'ERR_UNSUPPORTED_DIR_IMPORT'].includes(error.code)) {
        throw error;
      }
    }
  }
  throw new Error(`${specifier} cannot be found from ${context.parentURL}`);
}

export async function load(url, context, next) {
  if (/\.(svg|css)$/.test(url)) {
    const text = await readFile(new URL(url), 'utf8');
    return { format: 'module', shortCircuit: true, source: `export default ${JSON.stringify(text)};` };
  }
  if (url.endsWith('.json')) {
    return next(url, { ...context, importAttributes: { type: 'json' } });
  }
  return next(url, context);
}
