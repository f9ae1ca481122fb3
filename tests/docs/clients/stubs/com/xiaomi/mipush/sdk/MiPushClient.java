package com.xiaomi.mipush.sdk;

import android.content.Context;

public final class MiPushClient {
    public static void setUserAccount(Context context, String account, String category) {
        System.out.println("set " + account);
    }

    public static void unsetUserAccount(Context context, String account, String category) {
        System.out.println("unset " + account);
    }
}
