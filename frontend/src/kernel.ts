import type { ISessionContext } from '@jupyterlab/apputils';
import type * as Y from 'yjs';

import { pendingIn } from './prompts';
import { documentOf } from './rooms';

/** What is used here of a notebook. */
export interface Holder {
  readonly context: { readonly model: { readonly sharedModel: unknown } };
  readonly sessionContext: Pick<
    ISessionContext,
    'session' | 'sessionChanged' | 'kernelChanged' | 'changeKernel' | 'isDisposed'
  >;
}

/**
 * Takes a notebook back to its kernel when nothing but the session with it is gone.
 *
 * A server that was started again goes on with the cells that kernels behind a gateway have (`documents/adoption.py`), and
 * gives such a kernel a session of a new id. JupyterLab finds that there is none with the old one and leaves the notebook
 * without a kernel (`SessionManager` of `@jupyterlab/services`), until the page is loaded again and asks by the path.
 *
 * A kernel that people have shut down, or left for none, is not there any more: they are not taken back to it.
 */
export class KernelKeeper {
  /**
   * @param offers Whether the server has this kernel, and lets who uses the page have it do something. It may throw
   *   what the network does: there is another occasion.
   */
  constructor(
    private readonly panel: Holder,
    private readonly offers: (kernelId: string) => Promise<boolean>
  ) {
    this.doc = documentOf(panel.context.model);
    this.doc?.getMap('execution').observeDeep(this.look);
    panel.sessionContext.kernelChanged.connect(this.note);
    panel.sessionContext.sessionChanged.connect(this.look);
    this.note();
  }

  /** Stop. */
  dispose(): void {
    this.doc?.getMap('execution').unobserveDeep(this.look);
    this.panel.sessionContext.kernelChanged.disconnect(this.note);
    this.panel.sessionContext.sessionChanged.disconnect(this.look);
    this.doc = null;
  }

  private readonly note = (): void => {
    this.last = this.panel.sessionContext.session?.kernel?.id ?? this.last;
  };

  private readonly look = (): void => {
    if (this.isLost() && !this.busy) {
      this.busy = true;
      void this.goBack().finally(() => {
        this.busy = false;
      });
    }
  };

  /** Whether the document has a kernel that this page had too, and has not any more. */
  private isLost(): boolean {
    const { doc, last, panel } = this;
    return (
      doc !== null &&
      last !== null &&
      !panel.sessionContext.isDisposed &&
      panel.sessionContext.session === null &&
      pendingIn(doc).kernelId === last
    );
  }

  private async goBack(): Promise<void> {
    const id = this.last;
    if (id === null || !(await this.offers(id).catch(() => false)) || !this.isLost()) {
      return;
    }
    // The server has one session for a path, and answers with it. JupyterLab tells people what goes wrong.
    await this.panel.sessionContext.changeKernel({ id }).catch(() => undefined);
  }

  private doc: Y.Doc | null;
  /** The kernel that this page had last. */
  private last: string | null = null;
  private busy = false;
}
