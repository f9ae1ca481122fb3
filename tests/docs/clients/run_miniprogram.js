// A mini program's surroundings for miniprogram/chat.js, then one life of a session: snippet, service and bearer are the
// arguments.
const [snippet, service, bearer] = process.argv.slice(2)

global.wx = {
  request({ url, method, data, header, success, fail }) {
    fetch(url, { method, headers: header, body: JSON.stringify(data) })
      .then((answer) => answer.text().then((text) => success({ statusCode: answer.status, data: text })))
      .catch(fail)
  },
}
const user = {
  registerFetchToken(fetcher) {
    this.fetcher = fetcher
  },
  login() {
    console.log("login " + JSON.stringify(this.fetcher()))
  },
  logout() {
    console.log("logout")
  },
}

const { ChatSession } = require(snippet)
const session = new ChatSession(service, user, () => bearer)
session
  .toForeground()
  .then((code) => console.log("code " + code))
  .then(() => session.signOut())
