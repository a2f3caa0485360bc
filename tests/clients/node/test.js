#!/usr/bin/env node
// Runs receive_alerts.js against a real node: alerts come once and in order, also over a restart of either; what is no
// alert is left alone; the sender hears that each was taken; what a sender wrote is printed escaped.
//
//   node test.js FOLDER_OF_BINARIES
'use strict';
const assert = require('node:assert/strict');
const { spawn, execFileSync } = require('node:child_process');
const dgram = require('node:dgram');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { createInterface } = require('node:readline');
const { setTimeout: pause } = require('node:timers/promises');

const WAIT = 20_000; // that anything may take; nothing here takes a tenth of it
const ROOT = path.join(__dirname, '../../..');
const binaries = path.resolve(process.argv[2] ?? 'target/release');
const base = fs.mkdtempSync(path.join(os.tmpdir(), 'relay-node-js.'));
const running = new Set();

async function until(what, holds) {
  for (const late = Date.now() + WAIT; !holds(); await pause(20)) assert.ok(Date.now() < late, `not in time: ${what}`);
}

function start(program, args) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  child.ended = new Promise((done) => { child.on('exit', (code) => { running.delete(child); done(code); }); });
  child.stderr.resume();
  return child;
}

const freePort = () => new Promise((done) => {
  const one = dgram.createSocket('udp4').bind(0, '127.0.0.1', () => {
    const { port } = one.address();
    one.close(() => done(port));
  });
});

class Unit {
  static async make(name) {
    const unit = new Unit();
    Object.assign(unit, { name, dir: path.join(base, name), socket: path.join(base, name, 'api.sock') });
    const address = `127.0.0.1:${await freePort()}`;
    execFileSync(`${binaries}/relay-node`, ['init', '--unit', name, '--dir', unit.dir, '--phone', '+1-202-555-0100',
      '--clock', 'assumed', '--listen', address, '--advertise', address]);
    fs.appendFileSync(`${unit.dir}/relay.toml`,
      '\n[store]\nsegment_bytes = "4MiB"\nreserve_percent = 0\nreserve_bytes_min = "16MiB"\n');
    await unit.start();
    return unit;
  }

  async start() {
    this.process = start(`${binaries}/relay-node`, ['run', '--config', `${this.dir}/relay.toml`]);
    this.process.stdout.resume();
    await until(`${this.name} makes its socket`, () => fs.existsSync(this.socket));
  }

  async stop() {
    this.process.kill('SIGTERM');
    assert.equal(await this.process.ended, 0, 'an orderly stop');
  }

  desk(...words) {
    const all = ['--node', this.socket, '--json', '--no-input', ...words];
    // What it tells people goes into the error, if it is one.
    const stdio = ['ignore', 'pipe', 'pipe'];
    return JSON.parse(execFileSync(`${binaries}/relay-cli`, all, { encoding: 'utf8', stdio }));
  }

  know(other) {
    this.desk('peer', 'add', path.join(other.dir, `${other.name}.relaycard`));
  }

  verify(other) {
    const digits = other.desk('peer', 'verify', this.name, '--read').fingerprint;
    this.desk('peer', 'verify', other.name, '--by', 'test.js', '--fingerprint', digits);
  }

  send(verb, edit) {
    const file = path.join(base, 'message.json');
    const message = JSON.parse(fs.readFileSync(path.join(ROOT, `config/demo/${verb}.json`), 'utf8'));
    message.env.to = ['xb.ncu'];
    edit(message);
    fs.writeFileSync(file, JSON.stringify(message));
    return this.desk('send', verb, '--file', file, '--wait', 'delivered').message;
  }

  alert(title) {
    return this.send('alert', (message) => { message.alert.title = title; });
  }
}

/** The program, and the lines that it printed. */
function receiver(unit) {
  const program = [path.join(__dirname, 'receive_alerts.js'), unit.socket, path.join(base, 'cursor'),
    path.join(ROOT, 'proto')];
  const child = start(process.execPath, program);
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return { child, lines };
}

async function main() {
  const [sender, recipient] = [await Unit.make('xa.cyber-poc'), await Unit.make('xb.ncu')];
  sender.know(recipient);
  recipient.know(sender);
  sender.verify(recipient);
  recipient.verify(sender);

  const line = (message, title) => `${message.short_id}  ${sender.name}  ${title}`;
  const alerts = [sender.alert('Parcel-fee kit'), sender.alert('Read\u200fthis\u00a0\u{e000}')];
  const request = sender.send('preservation', () => {});
  const expected = [line(alerts[0], 'Parcel-fee kit'), line(alerts[1], 'Read\\u{200f}this\u00a0\\u{e000}')];
  let { child, lines } = receiver(recipient);
  await until('two alerts', () => lines.length === 2);
  assert.deepEqual(lines, expected);

  // Killed: the last one may come again, no other.
  child.kill('SIGKILL');
  await child.ended;
  alerts.push(sender.alert('The third'));
  ({ child, lines } = receiver(recipient));
  const third = line(alerts[2], 'The third');
  await until('the third', () => lines.includes(third));
  assert.deepEqual(lines.filter((one) => one !== expected[1]), [third]);

  // The node is stopped and started under it.
  await recipient.stop();
  await recipient.start();
  alerts.push(sender.alert('The fourth'));
  await until('the fourth', () => lines.at(-1) === line(alerts[3], 'The fourth'));
  assert.equal(lines.indexOf(third), lines.lastIndexOf(third), 'once');

  const taken = (message) => sender.desk('receipts', message.message_id).receipts
    .some((receipt) => receipt.event === 'ContentHandover' && receipt.verified);
  for (const alert of alerts) await until('the sender hears that it was taken', () => taken(alert));
  assert.ok(!taken(request), 'what is no alert was taken');
  child.kill('SIGKILL');
  await recipient.stop();
  await sender.stop();
  console.log('OK');
}

main().catch((error) => { console.error(error); process.exitCode = 1; }).finally(() => {
  for (const child of running) child.kill('SIGKILL');
  fs.rmSync(base, { recursive: true, force: true });
});
