import { readFileSync } from "node:fs";
import { defineConfig } from "vite";

// What ends up in the built script, and so must go with it: its licences.
const BUNDLED = ["preact", "@preact/signals", "@preact/signals-core", "uplot"];

function licences() {
  return {
    name: "licences",
    generateBundle() {
      const parts = BUNDLED.map((name) => {
        const { version, license } = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
        const text = readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim();
        return `${name} ${version} (${license})\n\n${text}\n`;
      });
      const source = `The dashboard's script contains these libraries.\n\n${parts.join(`\n${"-".repeat(79)}\n\n`)}`;
      this.emitFile({ type: "asset", fileName: "licences.txt", source });
    },
  };
}

export default defineConfig({
  base: "/dashboard/",
  plugins: [licences()],
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    // The content security policy has no data: for scripts and styles, and one script needs no preloading.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    modulePreload: false,
    reportCompressedSize: true,
  },
  // `npm run dev` beside a gateway, such as that of `laneway up`.
  server: { proxy: { "/api": process.env.LANEWAY_GATEWAY ?? "http://127.0.0.1:8080" } },
});
