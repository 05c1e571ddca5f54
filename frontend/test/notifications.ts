import type { NotificationManager } from '@jupyterlab/apputils';

/** The one that JupyterLab has, without the rest of the package, which needs a browser. */
const MANAGER = '@jupyterlab/apputils/lib/notification.js';

/** JupyterLab's own notifications, of which nothing is shown. */
export async function newNotificationManager(): Promise<NotificationManager> {
  const lab = (await import(MANAGER)) as { NotificationManager: new () => NotificationManager };
  return new lab.NotificationManager();
}
