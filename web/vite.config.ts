import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import react from '@vitejs/plugin-react';
import { defineConfig, type Plugin } from 'vite';

const OUT = '../isthmus/graphql/static/playground';

/** SHA-256 over the sources, by name: a test makes it anew, so that assets of other sources are noticed. */
function sourcesHash(): string {
  const files = ['index.html', 'package.json', 'package-lock.json', 'tsconfig.json', 'vite.config.ts'];
  for (const folder of ['public', 'src']) files.push(...readdirSync(folder).map((name) => `${folder}/${name}`));
  const hash = createHash('sha256');
  for (const file of files.sort()) hash.update(`${file}\n`).update(readFileSync(file)).update('\n');
  return hash.digest('hex');
}

const stamp: Plugin = {
  name: 'stamp',
  writeBundle: () => writeFileSync(join(OUT, 'sources.sha256'), `${sourcesHash()}\n`),
};

export default defineConfig({
  base: '/playground/',
  plugins: [react(), stamp],
  worker: { format: 'es' },
  build: { outDir: OUT, emptyOutDir: true, chunkSizeWarningLimit: 8_000, reportCompressedSize: false },
});
