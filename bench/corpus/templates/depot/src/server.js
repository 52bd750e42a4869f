import { createServer } from 'node:http';
import { makeApp } from './http/app.js';

const app = makeApp();
const port = Number(process.env.PORT ?? 3000);

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = chunks.length ? JSON.parse(Buffer.concat(chunks).toString('utf8')) : undefined;
  const answer = await app.handle(request.method, new URL(request.url, 'http://x').pathname, body);
  response.writeHead(answer.status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(answer.body));
}).listen(port);
