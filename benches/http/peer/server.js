// Receives SNS messages as most people do: Express verifies each with AWS's validator, and forgets it.
// Usage: server.js CERTIFICATE. Prints the address that it listens on.
'use strict';

const { PassThrough } = require('node:stream');
const https = require('node:https');
const { readFileSync } = require('node:fs');

const certificate = readFileSync(process.argv[2]);
// The validator fetches the certificate once and keeps it. Here it gets ours instead.
https.get = (url, answered) => {
  const response = new PassThrough();
  response.statusCode = 200;
  answered(response);
  response.end(certificate);
  return { on() {} };
};

const express = require('express');
const MessageValidator = require('sns-validator');

const validator = new MessageValidator();
const app = express();
app.use(express.text({ type: '*/*', limit: '512kb' }));
app.post('/sns', (request, response) => {
  validator.validate(request.body, (error) => {
    response.status(error ? 403 : 200).send('');
  });
});
const server = app.listen(0, '127.0.0.1', () => {
  console.log(`127.0.0.1:${server.address().port}`);
});
