import { ICollaborativeContentProvider } from '@jupyter/collaborative-drive';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import {
  INotebookCellExecutor,
  INotebookTracker,
  runCell,
  type NotebookPanel
} from '@jupyterlab/notebook';

import { ExecutionApi } from './api';
import { ServerCellExecutor } from './executor';
import { Rooms } from './rooms';
import { TrustFollower } from './trust';

const executor: JupyterFrontEndPlugin<INotebookCellExecutor> = {
  id: '@ydoc-exec/lab:notebook-cell-executor',
  description: 'Has notebook cells run by the server, and follows them in the shared document.',
  autoStart: true,
  provides: INotebookCellExecutor,
  optional: [ICollaborativeContentProvider],
  activate: (app: JupyterFrontEnd, drive: ICollaborativeContentProvider | null) => {
    if (PageConfig.getOption('serverSideExecution') !== 'true') {
      return Object.freeze({ runCell });
    }
    const api = new ExecutionApi(app.serviceManager.serverSettings);
    return new ServerCellExecutor(api, new Rooms(drive));
  }
};

const trust: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:trust',
  description: 'Lets open notebooks follow the trust that the shared document has in their cells.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker) => {
    const follower = new TrustFollower();
    const follow = ({ context }: NotebookPanel): void => {
      follower.follow(context.model);
    };
    tracker.forEach(follow);
    tracker.widgetAdded.connect((_, panel) => {
      follow(panel);
    });
  }
};

export default [executor, trust];
