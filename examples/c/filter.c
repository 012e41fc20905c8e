/* Frames of a C program through ganlens: appsrc ! ganlens ! appsink.
 *
 *     engine gstreamer install
 *     cc filter.c -o filter $(pkg-config --cflags --libs gstreamer-app-1.0)
 *     ./filter starry 640 360 < in.yuv > out.yuv     I420, rows without padding
 *
 * The program keeps its own threads and memory; GStreamer loads the element, and with it Python, into the process.
 */
#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <stdio.h>
#include <stdlib.h>

/* Prints what went wrong, in the element's own words; returns whether anything did. */
static int failed(GstElement* pipeline) {
    GstBus* bus = gst_element_get_bus(pipeline);
    GstMessage* message = gst_bus_pop_filtered(bus, GST_MESSAGE_ERROR);
    gst_object_unref(bus);
    if (!message) return 0;
    GError* error = NULL;
    gst_message_parse_error(message, &error, NULL);
    fprintf(stderr, "error: %s\n", error->message);
    g_error_free(error);
    gst_message_unref(message);
    return 1;
}

int main(int count, char** words) {
    gst_init(&count, &words);
    const int width = count == 4 ? atoi(words[2]) : 0, height = count == 4 ? atoi(words[3]) : 0;
    if (width < 8 || height < 2 || width % 8 || height % 2) {
        /* Other sizes work too; then GStreamer pads the rows, which this example does not. */
        fprintf(stderr, "usage: %s MODEL WIDTH HEIGHT < in.yuv > out.yuv (a multiple of 8, an even number)\n",
                words[0]);
        return 2;
    }

    GError* error = NULL;
    GstElement* pipeline =
        gst_parse_launch("appsrc name=source format=time ! ganlens name=filter ! appsink name=sink sync=false", &error);
    if (error) {
        fprintf(stderr, "error: %s (is the element installed? engine gstreamer install)\n", error->message);
        return 1;
    }
    GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline), "source");
    GstElement* filter = gst_bin_get_by_name(GST_BIN(pipeline), "filter");
    GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
    gst_util_set_object_arg(G_OBJECT(filter), "model", words[1]);
    GstCaps* caps = gst_caps_new_simple("video/x-raw", "format", G_TYPE_STRING, "I420", "width", G_TYPE_INT, width,
                                        "height", G_TYPE_INT, height, "framerate", GST_TYPE_FRACTION, 25, 1, NULL);
    gst_app_src_set_caps(GST_APP_SRC(source), caps);
    gst_caps_unref(caps);
    int status = gst_element_set_state(pipeline, GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE && failed(pipeline);

    const size_t bytes = (size_t)width * (size_t)height * 3 / 2;
    unsigned char* frame = malloc(bytes);
    for (guint64 number = 0; !status && frame && fread(frame, 1, bytes, stdin) == bytes; ++number) {
        GstBuffer* buffer = gst_buffer_new_memdup(frame, bytes);
        GST_BUFFER_PTS(buffer) = number * GST_SECOND / 25;
        gst_app_src_push_buffer(GST_APP_SRC(source), buffer);
        /* Any property may change here: g_object_set(filter, "opacity", 0.5, NULL); */

        GstSample* sample = NULL;
        while (!status && !sample) {
            sample = gst_app_sink_try_pull_sample(GST_APP_SINK(sink), GST_SECOND / 10);
            status = !sample && failed(pipeline);
        }
        if (!sample) break;
        GstMapInfo map;
        gst_buffer_map(gst_sample_get_buffer(sample), &map, GST_MAP_READ);
        fwrite(map.data, 1, map.size, stdout);
        gst_buffer_unmap(gst_sample_get_buffer(sample), &map);
        gst_sample_unref(sample);
    }
    free(frame);
    gst_object_unref(source);
    gst_object_unref(filter);
    gst_object_unref(sink);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_object_unref(pipeline);
    return status;
}
