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

import { Answers } from './answers';
import { RunsApi, InputApi, KernelsApi, RecoveryApi, RightsApi, TimeApi } from './api';
import { AskedRuns } from './asked';
import { ServerClock } from './clock';
import { ServerCellExecutor } from './executor';
import { PendingInput } from './input';
import { askInDialog } from './dialog';
import { KernelKeeper } from './kernel';
import { NoticeBoard } from './notices';
import { PlaceKeeper } from './places';
import type { Rights } from './prompts';
import { documentOf, Rooms } from './rooms';
import { RunStatus } from './status';
import { StrayPrompts } from './stray';
import { TrustFollower } from './trust';

/** What the page has asked for: those who use it are taken to what their cells ask them for. */
const asked = new AskedRuns();

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
    const api = new RunsApi(app.serviceManager.serverSettings);
    return new ServerCellExecutor(api, new Rooms(drive), asked);
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
    everyNotebook(tracker, follow);
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
    everyNotebook(tracker, follow);
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
    everyNotebook(tracker, follow);
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

const input: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:input',
  description: 'Shows what kernels ask for in the outputs of their cells, in every tab.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker, translator: ITranslator | null) => {
    const { serverSettings, user } = app.serviceManager;
    const { manager } = Notification;
    const trans = (translator ?? nullTranslator).load('jupyterlab');
    const api = new InputApi(serverSettings);
    const answers = new Answers(api, manager, trans);
    let rights: Rights | null = null;
    const around = {
      answers,
      asked,
      stray: new StrayPrompts(answers, api, manager, trans, askInDialog(trans)),
      person: () => ({ account: user.identity?.username ?? null, rights }),
      translator: translator ?? nullTranslator,
      trans
    };
    const followed = new Set<PendingInput>();
    const follow = (panel: NotebookPanel): void => {
      const pending = new PendingInput(panel, around);
      followed.add(pending);
      panel.disposed.connect(() => {
        followed.delete(pending);
        pending.dispose();
      });
    };
    everyNotebook(tracker, follow);
    const adopt = (): void => {
      for (const pending of followed) {
        pending.update();
      }
    };
    user.userChanged.connect(adopt);
    new RightsApi(serverSettings).mine().then(
      mine => {
        rights = mine;
        adopt();
      },
      () => undefined // the server says no to who may not
    );
  }
};

const kernel: JupyterFrontEndPlugin<void> = {
  id: '@ydoc-exec/lab:kernel',
  description: 'Takes notebooks back to kernels that have outlived the server.',
  autoStart: true,
  requires: [INotebookTracker],
  activate: (app: JupyterFrontEnd, tracker: INotebookTracker) => {
    const api = new KernelsApi(app.serviceManager.serverSettings);
    const follow = (panel: NotebookPanel): void => {
      const keeper = new KernelKeeper(panel, id => api.offers(id));
      panel.disposed.connect(() => {
        keeper.dispose();
      });
    };
    everyNotebook(tracker, follow);
  }
};

/** Call `follow` with all open notebooks, those to come as well. */
function everyNotebook(tracker: INotebookTracker, follow: (panel: NotebookPanel) => void): void {
  tracker.forEach(follow);
  tracker.widgetAdded.connect((_, panel) => {
    follow(panel);
  });
}

export default [executor, trust, places, notices, status, input, kernel];
