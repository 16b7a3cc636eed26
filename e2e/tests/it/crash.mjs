// The worker, with a path that marks its instance as panicked. It sets what Rust's panic hook sets, and does nothing more.
import worker, { UserObject } from "./entry.mjs";
import { __worker_init_state } from "./build/index.js";

export { UserObject };

export default {
  fetch(request, env, context) {
    const instance = __worker_init_state();
    switch (new URL(request.url).pathname) {
      case "/crash":
        instance.criticalError = true;
        return new Response("crashed");
      case "/instance":
        return Response.json(instance.instanceId);
      default:
        return worker.fetch(request, env, context);
    }
  },
};
