import { readdir, readFile } from 'node:fs/promises';

const folder = new URL('../migrations/', import.meta.url);
for (const name of (await readdir(folder)).sort()) {
  const sql = await readFile(new URL(name, folder), 'utf8');
  process.stdout.write(`-- ${name}\n${sql}\n`);
}
