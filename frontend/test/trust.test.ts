// JupyterLab's own models and output areas in a browser that is pretended (`tests/node`, whose packages this needs):
// what a tab shows, and with which trust, when the shared document changes under it.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import type { YNotebook } from '@jupyter/ydoc';
import type { ICodeCellModel } from '@jupyterlab/cells';
import type { NotebookModel } from '@jupyterlab/notebook';
import type { OutputArea } from '@jupyterlab/outputarea';
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import type * as Yjs from 'yjs';

import { TrustFollower } from '../src/trust';

const BROWSER = '../../tests/node/browser.mjs';

/** All that needs a browser, or has to be the very module that JupyterLab uses. */
async function load() {
  await import(BROWSER);
  return {
    Y: await import('yjs'),
    shared: await import('@jupyter/ydoc'),
    notebook: await import('@jupyterlab/notebook/lib/model.js'),
    outputarea: await import('@jupyterlab/outputarea/lib/widget.js'),
    rendermime: await import('@jupyterlab/rendermime/lib/registry.js'),
    widgets: await import('@lumino/widgets')
  };
}

let lab: Awaited<ReturnType<typeof load>>;
let open: Pair[] = [];

before(async () => {
  lab = await load();
});

beforeEach(() => {
  open = [];
});

after(() => {
  (globalThis as unknown as { window: { close: () => void } }).window.close();
});

type Output = Record<string, unknown>;

interface Cell {
  id?: string;
  /** What its metadata say of it. */
  trusted?: boolean;
  metadata?: Record<string, unknown>;
  outputs?: Output[];
}

function html(text: string): Output {
  return { output_type: 'display_data', data: { 'text/html': text }, metadata: {} };
}

/** JupyterLab's models make objects without a prototype. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function stream(text: string): Output {
  return { output_type: 'stream', name: 'stdout', text };
}

/** The server's document, and a tab with it. */
class Pair {
  readonly server: YNotebook = new lab.shared.YNotebook();
  readonly model: NotebookModel;
  /** What was put on the page, in this order; what may run its scripts begins with `trusted`. */
  readonly shown: string[] = [];
  /** How often the tab has changed the document itself. */
  writes = 0;

  constructor(...cells: Cell[]) {
    open.push(this);
    this.insert(...cells);
    const sharedModel = new lab.shared.YNotebook();
    this.model = new lab.notebook.NotebookModel({ sharedModel });
    this.deliver();
    sharedModel.ydoc.on('update', (_: Uint8Array, origin: unknown) => {
      if (origin !== this) {
        this.writes++;
      }
    });
    this.areas = this.codeCells().map(cell => this.areaOf(cell));
  }

  /** Put cells at the end, as the server does when it loads a file. */
  insert(...cells: Cell[]): void {
    const all = this.server.ydoc.getArray<Yjs.Map<unknown>>('cells');
    this.server.ydoc.transact(() => {
      cells.forEach(({ id, trusted, metadata, outputs }, index) => {
        const cell = new lab.Y.Map<unknown>();
        all.push([cell]);
        cell.set('id', id ?? `cell-${index}`);
        cell.set('cell_type', 'code');
        cell.set('source', new lab.Y.Text());
        cell.set('execution_count', null);
        cell.set('execution_state', 'idle');
        const shared = { ...metadata, ...(trusted === undefined ? {} : { trusted }) };
        cell.set('metadata', new lab.Y.Map(Object.entries(shared)));
        cell.set('outputs', new lab.Y.Array());
        new CellChange(cell).append(...(outputs ?? []));
      });
    });
  }

  /** One transaction of the server in the first cell. */
  change(what: (change: CellChange) => void): void {
    this.server.ydoc.transact(() => {
      what(new CellChange(this.server.ydoc.getArray<Yjs.Map<unknown>>('cells').get(0)));
    });
  }

  /** All that the server has done since comes as one update, and one transaction in the tab. */
  deliver(): void {
    const { ydoc } = this.model.sharedModel as YNotebook;
    const update = lab.Y.encodeStateAsUpdate(this.server.ydoc, lab.Y.encodeStateVector(ydoc));
    lab.Y.applyUpdate(ydoc, update, this);
  }

  cell(index = 0): ICodeCellModel {
    return this.model.cells.get(index) as ICodeCellModel;
  }

  /** What the page shows in the end. */
  get page(): string[] {
    return (this.areas[0]?.widgets ?? []).map(({ node }) => node.textContent);
  }

  /** What is in both copies of the document. */
  assertSame(): void {
    const { ydoc } = this.model.sharedModel as YNotebook;
    assert.deepEqual(ydoc.getArray('cells').toJSON(), this.server.ydoc.getArray('cells').toJSON());
    assert.equal(this.writes, 0, 'the tab has written something');
    assert.deepEqual(
      plain(this.codeCells().map(cell => cell.outputs.toJSON())),
      plain(this.codeCells().map(cell => cell.sharedModel.getOutputs()))
    );
  }

  dispose(): void {
    this.areas.forEach(area => {
      area.dispose();
    });
    const { sharedModel } = this.model;
    this.model.dispose();
    sharedModel.dispose();
    this.server.dispose();
  }

  private codeCells(): ICodeCellModel[] {
    return [...this.model.cells] as ICodeCellModel[];
  }

  private areaOf(cell: ICodeCellModel): OutputArea {
    const { shown } = this;
    class Renderer extends lab.widgets.Widget implements IRenderMime.IRenderer {
      renderModel({ data, trusted }: IRenderMime.IMimeModel): Promise<void> {
        const text = Object.values(data as Record<string, string>).join();
        shown.push(`${trusted ? 'trusted' : 'sanitized'} ${text}`);
        this.node.textContent = text;
        return Promise.resolve();
      }
    }
    const mimeTypes = ['text/html', 'application/vnd.jupyter.stdout'];
    return new lab.outputarea.OutputArea({
      model: cell.outputs,
      rendermime: new lab.rendermime.RenderMimeRegistry({
        initialFactories: [{ safe: true, mimeTypes, createRenderer: () => new Renderer() }]
      })
    });
  }

  private readonly areas: OutputArea[];
}

/** What the server does to a cell, in the shapes in which it does it (`ydoc_exec/notebook`). */
class CellChange {
  constructor(private readonly cell: Yjs.Map<unknown>) {}

  clear(): this {
    this.outputs.delete(0, this.outputs.length);
    return this;
  }

  trust(trusted: boolean): this {
    (this.cell.get('metadata') as Yjs.Map<unknown>).set('trusted', trusted);
    return this;
  }

  forgetTrust(): this {
    (this.cell.get('metadata') as Yjs.Map<unknown>).delete('trusted');
    return this;
  }

  append(...outputs: Output[]): this {
    this.outputs.push(
      outputs.map(output => {
        const { text, ...rest } = output;
        const map = new lab.Y.Map<unknown>(Object.entries(rest));
        if (typeof text === 'string') {
          map.set('text', new lab.Y.Text(text));
        }
        return map;
      })
    );
    return this;
  }

  type(text: string): this {
    const last = this.outputs.get(this.outputs.length - 1).get('text') as Yjs.Text;
    last.insert(last.length, text);
    return this;
  }

  private get outputs(): Yjs.Array<Yjs.Map<unknown>> {
    return this.cell.get('outputs') as Yjs.Array<Yjs.Map<unknown>>;
  }
}

/** A tab that looks on: its notebook is followed. */
function lookingOn(...cells: Cell[]): Pair {
  const pair = new Pair(...cells);
  new TrustFollower().follow(pair.model);
  return pair;
}

/** A test whose pairs are thrown away at its end. */
function follows(name: string, body: () => void): void {
  test(name, () => {
    try {
      body();
    } finally {
      open.forEach(pair => {
        pair.dispose();
      });
    }
  });
}

follows('without it, an open tab sanitizes what it shows', () => {
  const pair = new Pair({});
  pair.change(change => change.trust(true).append(html('new')));
  pair.deliver();
  assert.deepEqual(pair.shown, ['sanitized new']);
  assert.equal(pair.cell().trusted, false);
});

follows('a cell that never ran is run by somebody else', () => {
  const pair = lookingOn({});
  pair.change(change => change.clear().trust(true));
  pair.deliver();
  pair.change(change => change.append(html('new')));
  pair.deliver();
  assert.deepEqual(pair.shown, ['trusted new']);
  assert.equal(pair.cell().trusted, true);
  pair.assertSame();
});

follows('the whole run comes in one update', () => {
  const pair = lookingOn({ trusted: false });
  pair.change(change => change.clear().trust(true));
  pair.change(change => change.append(html('one')));
  pair.change(change => change.append(html('two')));
  pair.deliver();
  assert.deepEqual(pair.shown, ['trusted one', 'trusted two']);
  pair.assertSame();
});

follows('what was there before the run is never trusted', () => {
  const pair = lookingOn({ trusted: false, outputs: [html('forged'), html('forged too')] });
  pair.change(change => change.clear().trust(true));
  pair.deliver();
  pair.change(change => change.append(html('new')));
  pair.deliver();
  assert.deepEqual(pair.shown, ['sanitized forged', 'sanitized forged too', 'trusted new']);
  assert.deepEqual(pair.page, ['new']);
  pair.assertSame();
});

follows('the same in one update', () => {
  const pair = lookingOn({ trusted: false, outputs: [html('forged'), html('forged too')] });
  pair.change(change => change.clear().trust(true));
  pair.change(change => change.append(html('new'), html('newer')));
  pair.deliver();
  assert.deepEqual(
    pair.shown.filter(text => text.includes('forged')),
    ['sanitized forged', 'sanitized forged too']
  );
  assert.deepEqual(pair.shown.slice(-2), ['trusted new', 'trusted newer']);
  assert.deepEqual(pair.page, ['new', 'newer']);
  pair.assertSame();
});

follows('a stream that came with the trust goes on', () => {
  const pair = lookingOn({ outputs: [html('old')] });
  pair.change(change => change.clear().trust(true));
  pair.change(change => change.append(html('new'), stream('one ')));
  pair.deliver();
  for (const text of ['two ', 'three ']) {
    pair.change(change => change.type(text));
    pair.deliver();
  }
  assert.deepEqual(pair.page, ['new', 'one two three ']);
  pair.assertSame();
});

follows('somebody trusts what is there', () => {
  const pair = lookingOn({ outputs: [html('one'), html('two'), stream('a')] });
  pair.change(change => change.trust(true));
  pair.deliver();
  assert.deepEqual(pair.shown.slice(-3), ['trusted one', 'trusted two', 'trusted a']);
  pair.change(change => change.type('b'));
  pair.deliver();
  assert.deepEqual(pair.page, ['one', 'two', 'ab']);
  assert.equal(pair.cell().trusted, true);
  pair.assertSame();
});

for (const [how, take] of [
  ['is false', (change: CellChange) => change.trust(false)],
  ['is gone', (change: CellChange) => change.forgetTrust()]
] as const) {
  follows(`a change of the file takes the trust back: the key ${how}`, () => {
    const pair = lookingOn({ trusted: true, outputs: [html('run')] });
    assert.deepEqual(pair.shown, ['trusted run']);
    pair.change(change => take(change.clear()).append(html('forged')));
    pair.deliver();
    assert.deepEqual(
      pair.shown.filter(text => text.includes('forged')),
      ['sanitized forged']
    );
    assert.deepEqual(pair.page, ['forged']);
    assert.equal(pair.cell().trusted, false);
    pair.assertSame();
  });
}

follows('what stays when the trust is taken back is sanitized', () => {
  const pair = lookingOn({ trusted: true, outputs: [html('one'), stream('a')] });
  pair.change(change => change.trust(false).append(html('two')));
  pair.deliver();
  assert.deepEqual(pair.shown.slice(-3), ['sanitized one', 'sanitized a', 'sanitized two']);
  assert.deepEqual(pair.page, ['one', 'a', 'two']);
  pair.assertSame();
});

follows('trust is given, taken and given again', () => {
  const pair = lookingOn({});
  for (const text of ['one', 'two', 'three']) {
    pair.change(change => change.clear().trust(true).append(html(text)));
    pair.deliver();
    pair.change(change =>
      change
        .clear()
        .trust(false)
        .append(html(`forged ${text}`))
    );
    pair.deliver();
  }
  assert.deepEqual(
    pair.shown.filter(text => text.includes('forged')),
    ['one', 'two', 'three'].map(text => `sanitized forged ${text}`)
  );
  for (const text of ['one', 'two', 'three']) {
    assert.ok(pair.shown.includes(`trusted ${text}`), text);
  }
  pair.assertSame();
});

follows('cells that come later are followed, and cells that go are no trouble', () => {
  const pair = lookingOn({ id: 'first' });
  pair.insert({ id: 'second' }, { id: 'third', trusted: true });
  pair.deliver();
  assert.deepEqual([pair.cell(1).trusted, pair.cell(2).trusted], [false, true]);
  pair.server.deleteCell(0);
  pair.deliver();
  pair.change(change => change.trust(true).append(html('new')));
  pair.deliver();
  assert.equal(pair.cell().trusted, true);
  assert.equal(pair.cell().outputs.get(0).trusted, true);
  pair.assertSame();
});

follows('a notebook that was open before is caught up with', () => {
  const pair = new Pair({ trusted: false, outputs: [html('one')] });
  pair.change(change => change.trust(true));
  pair.deliver();
  const follower = new TrustFollower();
  follower.follow(pair.model);
  follower.follow(pair.model);
  assert.deepEqual(pair.shown, ['sanitized one', 'trusted one']);
  pair.assertSame();
});

for (const metadata of [{ collapsed: false }, { jupyter: { outputs_hidden: true } }]) {
  follows(
    `nothing is written for metadata that JupyterLab would complete: ${JSON.stringify(metadata)}`,
    () => {
      const pair = lookingOn({});
      pair.server.ydoc.transact(() => {
        const cell = pair.server.ydoc.getArray<Yjs.Map<unknown>>('cells').get(0);
        const shared = cell.get('metadata') as Yjs.Map<unknown>;
        for (const [key, value] of Object.entries(metadata)) {
          shared.set(key, value);
        }
      });
      pair.deliver();
      pair.change(change => change.clear().trust(true).append(html('new')));
      pair.deliver();
      assert.deepEqual(pair.shown, ['trusted new']);
      pair.assertSame();
    }
  );
}

follows('a renderer that changes what it shows writes nothing', () => {
  const pair = lookingOn({ trusted: true, outputs: [html('figure'), stream('a')] });
  const { outputs } = pair.cell();
  outputs.get(0).setData({ data: { 'text/html': 'figure', 'image/png': 'picture' } });
  assert.deepEqual(plain(outputs.get(0).toJSON()), {
    ...html('figure'),
    data: { 'text/html': 'figure', 'image/png': 'picture' }
  });
  pair.change(change => change.type('b').append(html('more')));
  pair.deliver();
  assert.deepEqual(pair.page, ['figure,picture', 'ab', 'more']);
  assert.equal(pair.writes, 0);
  assert.deepEqual(plain(pair.cell().sharedModel.getOutputs()), [
    html('figure'),
    stream('ab'),
    html('more')
  ]);
});

follows('without it, the output is replaced in the document', () => {
  const pair = new Pair({ trusted: true, outputs: [html('figure')] });
  pair
    .cell()
    .outputs.get(0)
    .setData({ data: { 'text/html': 'changed' } });
  assert.ok(pair.writes > 0);
});

follows('trusting a notebook by hand leaves the outputs in the document alone', () => {
  const pair = lookingOn({ outputs: [html('one'), html('two'), stream('three')] });
  const before = plain(pair.cell().sharedModel.toJSON().outputs);
  const items = pair.cell().sharedModel.getOutputs();
  pair.cell().trusted = true;
  assert.deepEqual(plain(pair.cell().sharedModel.getOutputs()), plain(items));
  assert.deepEqual(plain(pair.cell().sharedModel.toJSON().outputs), before);
  assert.deepEqual(pair.shown.slice(-3), ['trusted one', 'trusted two', 'trusted three']);
  assert.deepEqual(pair.page, ['one', 'two', 'three']);
  assert.equal(pair.cell().sharedModel.getMetadata('trusted'), true);
});

follows('clearing outputs is written as ever', () => {
  const pair = lookingOn({ outputs: [html('one'), html('two')] });
  pair.cell().clearExecution();
  assert.deepEqual(pair.cell().sharedModel.getOutputs(), []);
  assert.ok(pair.writes > 0);
});
