// One signed-in user of a page: the MIMC token, signing in again, signing out. A page gets no alerts: it registers no device.
//
//   const chat = new ChatSession("https://chat.example.com", new MIMCUser(appId, account), () => bearer)
//   chat.toForeground()

class ChatSession {
  // `bearer` returns the proof of who the user is, each time anew because it may expire.
  constructor(service, user, bearer) {
    this.service = service
    this.user = user
    this.bearer = bearer
    user.registerFetchToken(() => this.fetchMIMCToken())
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.toForeground()
    })
  }

  // At the start, and each time that the page is looked at again.
  toForeground() {
    this.user.login()
  }

  // MIMC's web SDK wants the parsed object at once, so the request is synchronous, once for each login. Its `code` says
  // what went wrong; ours has the same form as MIMC's.
  fetchMIMCToken() {
    const request = new XMLHttpRequest()
    request.open("POST", this.service + "/api/account/token", false)
    request.setRequestHeader("Content-Type", "application/json")
    request.setRequestHeader("Authorization", "Bearer " + this.bearer())
    request.send("{}")
    return JSON.parse(request.responseText)
  }

  signOut() {
    this.user.logout()
  }
}

if (typeof module !== "undefined") module.exports = { ChatSession }
