/* Texts in arrays of a fixed size, for weft-cni.c: all that it would want a C library's printf for. */
#include <string.h>

/* Appends to a text of `size` octets. What does not fit is left out, and the text still ends. */
static void append(char *text, size_t size, const char *more)
{
	size_t length = strlen(text);
	while (*more && length + 1 < size)
		text[length++] = *more++;
	text[length] = 0;
}

/* With zeros in front, up to `width` digits. */
static void append_number(char *text, size_t size, long long number, int width)
{
	char digits[24];
	char *at = digits + sizeof digits - 1;
	*at = 0;
	do {
		*--at = '0' + number % 10;
		number /= 10;
	} while (number > 0 || digits + sizeof digits - 1 - at < width);
	append(text, size, at);
}

static void append_json_text(char *text, size_t size, const char *value)
{
	append(text, size, "\"");
	for (; *value; value++) {
		unsigned char c = *value;
		char shown[3] = { c, 0, 0 };
		if (c == '"' || c == '\\') {
			shown[0] = '\\';
			shown[1] = c;
		} else if (c < 0x20 || c > 0x7e)
			shown[0] = '?';
		append(text, size, shown);
	}
	append(text, size, "\"");
}
