import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Signal } from '@lumino/signaling';
import * as Y from 'yjs';

import { KernelKeeper, type Holder } from '../src/kernel';

/** A notebook with a kernel, and what the server says of kernels. */
class Notebook {
  readonly doc = new Y.Doc();
  readonly asked: string[] = [];
  readonly gone = new Set<string>();
  readonly taken: string[] = [];
  session: { kernel: { id: string } } | null = { kernel: { id: 'k' } };
  isDisposed = false;
  readonly kernelChanged = new Signal<this, void>(this);
  readonly sessionChanged = new Signal<this, void>(this);
  readonly keeper: KernelKeeper;

  constructor() {
    this.says('k');
    const holder = {
      context: { model: { sharedModel: { ydoc: this.doc } } },
      sessionContext: this
    } as unknown as Holder;
    this.keeper = new KernelKeeper(holder, async id => {
      this.asked.push(id);
      await tick();
      return !this.gone.has(id);
    });
  }

  /** What the server writes of the notebook's kernel. */
  says(id: string | null): void {
    const now = new Y.Map<unknown>();
    now.set('kernel', id === null ? null : { id, state: 'busy' });
    this.doc.getMap('execution').set('now', now);
  }

  /** JupyterLab finds that the session is gone (`SessionConnection.dispose`). */
  lose(): void {
    this.session = null;
    this.sessionChanged.emit();
    this.kernelChanged.emit();
  }

  async changeKernel({ id }: { id: string }): Promise<void> {
    this.kernelChanged.emit(); // as JupyterLab's does when there is no session
    await tick();
    this.taken.push(id);
    this.session = { kernel: { id } };
    this.sessionChanged.emit();
    this.kernelChanged.emit();
  }
}

function tick(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve));
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    await tick();
  }
}

test('a notebook whose kernel is still there goes back to it, once', async () => {
  const notebook = new Notebook();
  notebook.lose();
  notebook.says('k');
  await settled();
  assert.deepEqual(notebook.taken, ['k']);
  notebook.lose();
  await settled();
  assert.deepEqual(notebook.taken, ['k', 'k']);
});

test('it goes back when the server says that it goes on with it', async () => {
  const notebook = new Notebook();
  notebook.gone.add('k');
  notebook.lose();
  notebook.says(null);
  await settled();
  assert.deepEqual(notebook.asked, ['k']);
  notebook.gone.clear();
  notebook.says('k');
  await settled();
  assert.deepEqual(notebook.taken, ['k']);
});

test('a kernel that was shut down or changed is not gone back to', async () => {
  const shut = new Notebook();
  shut.gone.add('k');
  shut.lose();
  await settled();
  assert.deepEqual(shut.taken, []);

  const other = new Notebook();
  other.session = { kernel: { id: 'other' } };
  other.kernelChanged.emit();
  other.lose();
  await settled();
  assert.deepEqual(other.asked, []);
});

test('a notebook that is closed asks nothing', async () => {
  const closed = new Notebook();
  closed.isDisposed = true;
  closed.lose();
  const stopped = new Notebook();
  stopped.keeper.dispose();
  stopped.lose();
  stopped.says('k');
  await settled();
  assert.deepEqual([...closed.asked, ...stopped.asked], []);
});

test('a page that has a kernel again by the time of the answer stays with it', async () => {
  const notebook = new Notebook();
  notebook.lose();
  notebook.session = { kernel: { id: 'chosen' } };
  await settled();
  assert.deepEqual(notebook.asked, ['k']);
  assert.deepEqual(notebook.taken, []);
});
