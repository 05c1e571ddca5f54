import { ICollaborativeContentProvider } from '@jupyter/collaborative-drive';
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { PageConfig } from '@jupyterlab/coreutils';
import {
  INotebookCellExecutor,
  INotebookTracker,
  runCell,
  type NotebookPanel
} from '@jupyterlab/notebook';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { ExecutionApi, RecoveryApi, TimeApi } from './api';
import { ServerClock } from './clock';
import { ServerCellExecutor } from './executor';
import { NoticeBoard } from './notices';
import { PlaceKeeper } from './places';
import { documentOf, Rooms } from './rooms';
import { RunStatus } from './status';
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

const places: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:places',
  description:
    'Keeps people where they are in a notebook when others change the list of its cells.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (_: JupyterFrontEnd, tracker: INotebookTracker) => {
    const keeper = new PlaceKeeper();
    const follow = ({ content }: NotebookPanel): void => {
      keeper.follow(content);
    };
    tracker.forEach(follow);
    tracker.widgetAdded.connect((_, panel) => {
      follow(panel);
    });
  }
};

const notices: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:notices',
  description: 'Shows what the server has to say about shared documents.',
  autoStart: true,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    const { contents, serverSettings } = app.serviceManager;
    const board = new NoticeBoard(
      Notification.manager,
      new RecoveryApi(serverSettings),
      (translator ?? nullTranslator).load('jupyterlab')
    );
    for (const factory of ['Notebook', 'Editor']) {
      app.docRegistry.addWidgetExtension(factory, {
        createNew: (_, context) => {
          const doc = documentOf(context.model);
          return doc ? board.follow(doc, () => contents.localPath(context.path)) : undefined;
        }
      });
    }
  }
};

const status: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:status',
  description: 'Shows which cells wait and run on the server, for how long and for whom.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ISettingRegistry, ITranslator],
  activate: async (
    app: JupyterFrontEnd,
    tracker: INotebookTracker,
    registry: ISettingRegistry | null,
    translator: ITranslator | null
  ) => {
    const { serverSettings, user } = app.serviceManager;
    const time = new TimeApi(serverSettings);
    const around = {
      clock: new ServerClock(() => time.now()),
      me: () => user.identity?.username ?? null,
      trans: (translator ?? nullTranslator).load('jupyterlab'),
      // Other applications have no such area, and complain of who asks for it.
      bars: () => (app.name === 'JupyterLab' ? app.shell.widgets('bottom') : [])
    };
    const followed = new Set<RunStatus>();
    let labels = true;
    const follow = (panel: NotebookPanel): void => {
      const status = new RunStatus(panel, around, labels);
      followed.add(status);
      panel.disposed.connect(() => {
        followed.delete(status);
        status.dispose();
      });
    };
    tracker.forEach(follow);
    tracker.widgetAdded.connect((_, panel) => {
      follow(panel);
    });
    const settings = await registry?.load(status.id);
    const adopt = (): void => {
      labels = settings?.get('showBesidePrompt').composite !== false;
      for (const status of followed) {
        status.showLabels = labels;
      }
    };
    settings?.changed.connect(adopt);
    adopt();
  }
};

export default [executor, trust, places, notices, status];
