package com.xiaomi.mimc;

/** The calls of MIMC's Android SDK that the snippet makes; login fetches a token, as the real one does. */
public class MIMCUser {
    private MIMCTokenFetcher fetcher;

    public void registerTokenFetcher(MIMCTokenFetcher fetcher) {
        this.fetcher = fetcher;
    }

    public boolean login() {
        System.out.println("login " + fetcher.fetchToken());
        return true;
    }

    public boolean logout() {
        System.out.println("logout");
        return true;
    }
}
