// Header modifier: sets, adds and removes headers that the configuration names.

import { Action, config, CONTINUE } from "@tulle/filter";

const requestSet = config.requestHeaders("requestSet");
const requestAdd = config.requestHeaders("requestAdd");
const requestRemove = config.requestNames("requestRemove");
const responseSet = config.responseHeaders("responseSet");
const responseAdd = config.responseHeaders("responseAdd");
const responseRemove = config.responseNames("responseRemove");

export function onRequest(): Action {
  requestRemove.remove();
  requestSet.set();
  requestAdd.add();
  return CONTINUE;
}

export function onResponse(): Action {
  responseRemove.remove();
  responseSet.set();
  responseAdd.add();
  return CONTINUE;
}
