/** What differs between browsers, besides the manifests. */

/** Firefox ends an extension's page after 30 s unless the extension's API is called; a socket's traffic does not count there. */
export function keepAwake(): void {
  if (SITE.surface === "firefox") void chrome.runtime.getPlatformInfo();
}

/** Keeps the list of friends open beside pages. */
export async function openPanel(windowId: number): Promise<void> {
  if (SITE.surface === "firefox") {
    await (globalThis as unknown as { browser: { sidebarAction: { open(): Promise<void> } } }).browser.sidebarAction.open();
  } else {
    await chrome.sidePanel.open({ windowId });
  }
}
