import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { include: ["{packages,remotes}/*/tests/**/*.test.ts", "shell/tests/**/*.test.ts"], environment: "node" },
});
