/** What differs between browsers, besides the manifests. */

/** Firefox ends an extension's page after 30 s unless the extension's API is called; a socket's traffic does not count there. */
export function keepAwake(): void {
  if (SITE.surface === "firefox") void chrome.runtime.getPlatformInfo();
}

/** Keeps the list of friends open beside pages. Call it in the very handler of a click: Firefox opens nothing after a wait. */
export async function openPanel(): Promise<void> {
  if (SITE.surface === "firefox") {
    await (globalThis as unknown as { browser: { sidebarAction: { open(): Promise<void> } } }).browser.sidebarAction.open();
  } else {
    const { id: windowId = chrome.windows.WINDOW_ID_CURRENT } = await chrome.windows.getCurrent();
    await chrome.sidePanel.open({ windowId });
  }
}
