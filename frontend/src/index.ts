import { ICollaborativeContentProvider } from '@jupyter/collaborative-drive';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { PageConfig } from '@jupyterlab/coreutils';
import { INotebookCellExecutor, runCell } from '@jupyterlab/notebook';

import { ExecutionApi } from './api';
import { ServerCellExecutor } from './executor';
import { Rooms } from './rooms';

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

export default executor;
