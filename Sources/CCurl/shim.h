// libcurl as Swift can call it: typed inlines for what is variadic or a macro.
#pragma once
#include <curl/curl.h>
