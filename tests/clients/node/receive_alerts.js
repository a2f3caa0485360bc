#!/usr/bin/env node
// Receives alerts: watches a relay node's events from a cursor in a file, prints each alert, takes it.
//
//   node receive_alerts.js SOCKET CURSOR_FILE [PROTO_FOLDER]
//
// It needs @grpc/grpc-js and @grpc/proto-loader (package.json) and the folder `proto` of the relay.
'use strict';
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const WAIT = 30_000; // until a call is given up
const PURPOSE = 'receiving alerts'; // the node writes down who read what for which purpose
const AGAIN = 1_000; // until a watch that ended is begun again
const [socket, cursorFile, proto = path.join(__dirname, '../../../proto')] = process.argv.slice(2);
if (!cursorFile) {
  console.error('usage: receive_alerts.js SOCKET CURSOR_FILE [PROTO_FOLDER]');
  process.exit(2);
}

const definition = loader.loadSync('relay/v1/api.proto', {
  includeDirs: [proto], keepCase: true, enums: String, longs: String, defaults: true, oneofs: true,
});
const { MessageService } = grpc.loadPackageDefinition(definition).relay.v1;
const node = new MessageService(`unix:${socket}`, grpc.credentials.createInsecure());

const call = (method, request) => new Promise((done, failed) => {
  node[method](request, { deadline: Date.now() + WAIT }, (error, answer) => (error ? failed(error) : done(answer)));
});

// What others wrote, made harmless: no character of it moves a cursor or turns a line's direction.
const shown = (text) => text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

// A UUID that follows from the message: taking it again after a restart is the same request.
function requestId(messageId) {
  const hex = createHash('sha256').update(`taken by receive_alerts ${messageId}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

async function receive(event) {
  if (event.kind !== 'UNIT_EVENT_KIND_MESSAGE_RECEIVED') return;
  const message = await call('GetMessage', { name: event.message_id, view: 'MESSAGE_VIEW_FULL', purpose: PURPOSE });
  const alert = message.payload.alert ?? message.payload.alert_update;
  if (!alert) return;
  // Here a real system stores message.payload, for good, before it takes the message.
  console.log(`${message.short_id}  ${message.from}  ${shown(alert.title)}`);
  const id = requestId(event.message_id);
  await call('AcknowledgeMessage', { request_id: id, name: event.message_id, capacity: 'ACK_CAPACITY_HANDOVER' });
}

async function watch() {
  const cursor = fs.existsSync(cursorFile) ? fs.readFileSync(cursorFile, 'utf8') : '';
  for await (const event of node.WatchEvents({ cursor })) {
    await receive(event);
    // Moved on when all is done: what broke before this comes again.
    fs.writeFileSync(`${cursorFile}.new`, event.cursor);
    fs.renameSync(`${cursorFile}.new`, cursorFile);
  }
}

async function main() {
  for (;;) {
    await watch().catch((error) => {
      // The node stops or is not there yet; the cursor holds.
      if (error.code !== grpc.status.UNAVAILABLE) throw error;
    });
    await new Promise((again) => { setTimeout(again, AGAIN); });
  }
}

main().catch((error) => { console.error(shown(String(error.message))); process.exit(1); });
