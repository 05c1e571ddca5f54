import type { NotificationManager } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import type * as Y from 'yjs';

import type { RecoveryApi } from './api';

/** What the server has to say about a document (`documents/notices.py`). */
interface Notice {
  kind: string;
  text: string;
  /** The recovery copy that has what may be missed. */
  copy?: string;
}

/** Ends with `dispose`; what JupyterLab calls an `IDisposable`. */
interface Following {
  readonly isDisposed: boolean;
  dispose: () => void;
}

/** What is so as long as it is said: work may be lost if nothing is done about it. */
const TROUBLE: readonly string[] = ['save-failed', 'log-failed'];

/** How long it is said that a copy was restored, in milliseconds. */
const SUCCESS_SHOWN = 5_000;

/**
 * Shows the notices of shared documents.
 *
 * They are in the documents, so all tabs have them. Each is shown once on a page, until somebody dismisses it here or
 * what it says is over. Nothing is written into the documents.
 */
export class NoticeBoard {
  constructor(
    private readonly notifications: Pick<NotificationManager, 'notify' | 'dismiss' | 'has'>,
    private readonly api: Pick<RecoveryApi, 'restore'>,
    private readonly trans: Pick<TranslationBundle, '__'>
  ) {}

  /**
   * Show the notices of a document, until the result is disposed of as often as this was called for the document.
   *
   * @param path Where the document's file is now.
   */
  follow(doc: Y.Doc, path: () => string): Following {
    const followed = this.followed.get(doc) ?? { followers: 0, stop: this.start(doc, path) };
    this.followed.set(doc, followed);
    followed.followers++;
    let isDisposed = false;
    return {
      get isDisposed() {
        return isDisposed;
      },
      dispose: () => {
        if (isDisposed) {
          return;
        }
        isDisposed = true;
        if (--followed.followers === 0) {
          this.followed.delete(doc);
          followed.stop();
        }
      }
    };
  }

  private start(doc: Y.Doc, path: () => string): () => void {
    const live = doc.getMap('execution');
    const ids = new Set<string>();
    const update = (): void => {
      const notices = noticesIn(live);
      for (const id of ids) {
        if (!notices.has(id)) {
          this.hide(id);
          ids.delete(id);
        }
      }
      for (const [id, notice] of notices) {
        ids.add(id);
        if (!this.shown.has(id)) {
          this.shown.set(id, this.show(notice, path));
        }
      }
    };
    live.observeDeep(update);
    update();
    return () => {
      live.unobserveDeep(update);
      for (const id of ids) {
        if (this.notifications.has(this.shown.get(id) ?? '')) {
          // Nobody has dismissed it: it is shown again when the document is opened again.
          this.hide(id);
        }
      }
    };
  }

  private show({ kind, text, copy }: Notice, path: () => string): string {
    return this.notifications.notify(text, TROUBLE.includes(kind) ? 'error' : 'warning', {
      autoClose: false,
      actions: [...(copy === undefined ? [] : [this.restoring(copy, path)]), this.dismissing()]
    });
  }

  private hide(id: string): void {
    this.notifications.dismiss(this.shown.get(id) ?? '');
    this.shown.delete(id);
  }

  /** The button that has the server restore a copy. What it brings back reaches this tab as any change does. */
  private restoring(copy: string, path: () => string) {
    return {
      label: this.trans.__('Restore'),
      caption: this.trans.__(
        'Replace what is open by the version that was kept, and keep what is open'
      ),
      callback: (): void => {
        void this.restore(copy, path);
      }
    };
  }

  /** The button that only closes, as JupyterLab closes what a button of was pressed. */
  private dismissing() {
    return { label: this.trans.__('Dismiss'), callback: (): void => undefined };
  }

  private async restore(copy: string, path: () => string): Promise<void> {
    try {
      await this.api.restore(path(), copy);
    } catch (error) {
      this.notifications.notify(error instanceof Error ? error.message : String(error), 'error', {
        autoClose: false,
        actions: [this.restoring(copy, path), this.dismissing()]
      });
      return;
    }
    this.notifications.notify(
      this.trans.__('The version was restored. What was open before was kept.'),
      'success',
      { autoClose: SUCCESS_SHOWN }
    );
  }

  /** The notifications on this page, by the notice's id. Those that somebody has dismissed are among them. */
  private readonly shown = new Map<string, string>();
  private readonly followed = new Map<Y.Doc, { followers: number; stop: () => void }>();
}

/** The notices by their ids. Anybody who can edit can write anything there. */
function noticesIn(live: Y.Map<unknown>): Map<string, Notice> {
  const notices = live.get('notices') as Partial<Y.Map<unknown>> | null | undefined;
  const found = new Map<string, Notice>();
  if (typeof notices?.forEach === 'function') {
    notices.forEach((notice: unknown, id: string) => {
      if (isNotice(notice)) {
        found.set(id, notice);
      }
    });
  }
  return found;
}

function isNotice(value: unknown): value is Notice {
  const { kind, text, copy } = (value ?? {}) as Partial<Record<keyof Notice, unknown>>;
  return (
    typeof kind === 'string' &&
    typeof text === 'string' &&
    (copy === undefined || typeof copy === 'string')
  );
}
