// Decides which frames are passed to WebAssembly. Its memory never shrinks, and the objects of many users share it. So a frame
// that would be refused in any case is not passed.
//
// Deliberately absent: what frames mean.

/** A lower bound for the size of a frame in bytes. UTF-8 has at least one byte for each UTF-16 code unit of a text. */
export const bytesOf = (message) => (typeof message === "string" ? message.length : message.byteLength);

/** Whether a frame is read: it must be text, and the lower bound of its size must be at most `bytesMax`. */
export const isRead = (message, bytesMax) => typeof message === "string" && bytesOf(message) <= bytesMax;
