/** The differences between browsers in code. The others are in the manifests. */

/**
 * Keeps the worker running. Firefox ends an extension's background page 30 s after its last API call; socket traffic does not
 * count.
 */
export function keepAwake(): void {
  if (SITE.surface === "firefox") void chrome.runtime.getPlatformInfo();
}

/**
 * Opens the list of friends beside pages. It must be called in a click handler before any await: else Firefox does not open it.
 */
export async function openPanel(): Promise<void> {
  if (SITE.surface === "firefox") {
    await (globalThis as unknown as { browser: { sidebarAction: { open(): Promise<void> } } }).browser.sidebarAction.open();
  } else {
    const { id: windowId = chrome.windows.WINDOW_ID_CURRENT } = await chrome.windows.getCurrent();
    await chrome.sidePanel.open({ windowId });
  }
}
