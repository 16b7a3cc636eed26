import { defineConfig } from "vitest/config";

export default defineConfig({
  define: {
    "SITE.origin": JSON.stringify("https://edge.example.org"),
    "SITE.issuer": JSON.stringify("https://id.example.org"),
    "SITE.clientId": JSON.stringify("client"),
    "SITE.surface": JSON.stringify("chromium"),
  },
  test: { include: ["tests/*.test.ts", "tests/*.test.tsx"] },
});
