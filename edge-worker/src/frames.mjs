// Which frames cross over to WebAssembly. Its memory never shrinks, and objects of many users share it: what is refused in
// any case stays outside.
//
// Deliberately absent: what frames mean.

/** The least number of bytes that a frame has: text has one or more for each of its code units. */
export const bytesOf = (message) => (typeof message === "string" ? message.length : message.byteLength);

/** Whether a frame is to be read: text that may have no more than so many bytes. */
export const isRead = (message, bytesMax) => typeof message === "string" && bytesOf(message) <= bytesMax;
