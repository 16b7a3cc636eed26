// Which frames cross over to WebAssembly. Its memory never shrinks, and objects of many users share it: what is refused in
// any case stays outside.
//
// Deliberately absent: what frames mean.

/**
 * Hands a frame to `read` where it is text that may be short enough, and else how many bytes it has to `refuse`. Text has at
 * least a byte for each of its code units.
 */
export const handFrame = (message, bytesMax, read, refuse) => {
  const isText = typeof message === "string";
  const bytes = isText ? message.length : message.byteLength;
  if (isText && bytes <= bytesMax) read(message);
  else refuse(bytes);
};
