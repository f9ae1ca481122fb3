package com.xiaomi.mimc;

public interface MIMCTokenFetcher {
    String fetchToken();
}
