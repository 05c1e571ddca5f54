import type {
  ICollaborativeContentProvider,
  IDocumentProvider
} from '@jupyter/collaborative-drive';
import type { INotebookModel } from '@jupyterlab/notebook';
import type * as Y from 'yjs';

import type { RoomConnection } from './asking';

/** The shared document behind a model. */
export function documentOf(model: { readonly sharedModel: unknown }): Y.Doc | null {
  const shared = model.sharedModel as { ydoc?: Y.Doc };
  return shared.ydoc ?? null;
}

/** Finds the connection of a notebook among those the collaborative drive holds. */
export class Rooms {
  constructor(private readonly drive: ICollaborativeContentProvider | null) {}

  /** Whether the server holds this notebook. The stock provider notes the room's name at the first sync. */
  holds(notebook: INotebookModel): boolean {
    return (
      this.connectionOf(notebook) !== null ||
      typeof notebook.sharedModel.getState('document_id') === 'string'
    );
  }

  /**
   * The connection of a notebook, if there is one now.
   *
   * Providers are filed by path, which changes when a file is renamed, and the room's name in the document can be
   * written by anyone in it: the document itself cannot be mistaken.
   */
  connectionOf(notebook: INotebookModel): RoomConnection | null {
    const doc = documentOf(notebook);
    for (const provider of this.drive?.providers.values() ?? []) {
      const connection = connectionIn(provider);
      if (connection && connection.doc === doc) {
        return connection;
      }
    }
    return null;
  }
}

/** The token's interface does not name the connection; the provider of `@jupyter/docprovider` has it. */
function connectionIn(provider: IDocumentProvider): RoomConnection | null {
  return (
    (provider as IDocumentProvider & { wsProvider?: RoomConnection | null }).wsProvider ?? null
  );
}
